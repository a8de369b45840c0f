"""What happens to a run besides commits: workers are lost, replaced, come back, take over the work of others.

The table `events` of a run holds one row for each. Together with the commits it is all that a replay needs.
"""

from typing import Any, NamedTuple

KINDS = {
    "lost": "the worker is gone, or was silent for too long",
    "orphaned": "nobody continues the worker: what is left of its budget is given to the others",
    "replaced": "a new process hosts the worker, and has pulled the center",
    "returned": "the worker has pulled the center again",
    "taken over": "the worker goes on with a window of another one's budget",
    "refused": "a commit of an earlier life of the worker, or for an earlier server, was not applied",
}
RESTARTS = ("replaced", "returned")
"""Kinds after which a worker starts from the center as it is; what it had computed since its last commit is lost."""


class Event(NamedTuple):
    """One row of the table `events`."""

    update: int  # the version of the center when it happened
    time_s: float  # on the run's clock; of the next update, where events have no time of their own
    worker: int
    kind: str  # one of `KINDS`
    reason: str = ""
    lost_steps: int = 0  # local steps of the window under way, which are taken again; the most that can be lost
    sequence: int = 0  # number of the worker's last commit that was applied
    owner: int = -1  # whose budget the worker goes on with: its own, but for `taken over`
    first_step: int = 0  # the step of that budget at which it goes on
    kept: int = 0  # 1 if it goes on with the local state it had at its last commit, 0 with a fresh one

    def row(self) -> dict[str, Any]:
        """Return the row of the table."""
        return self._asdict()
