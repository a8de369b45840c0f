"""Properties of everything that reads what others wrote: either a sensible result, or a DistoptError in few words.

`make test` tries a few examples, always the same; `make fuzz` many more, and new ones every time.
"""

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "few", max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW
)
settings.register_profile("many", max_examples=2000, deadline=None, database=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("DISTOPT_FUZZ", "few"))
