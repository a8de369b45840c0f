"""The helper for Flax linen modules, by the name under which models of this package call it."""

from distopt.adapters.linen import Mode
from distopt.adapters.linen import linen_task as classifier

__all__ = ["Mode", "classifier"]
