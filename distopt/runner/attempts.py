"""One attempt to make runs: claimed first, so that no other process makes them too; here or in a process of a pool."""

import signal
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig
from rich.console import Console

from distopt import config as configuration
from distopt.errors import DistoptError, unwritten
from distopt.files.lock import Claim
from distopt.runner import run as runner
from distopt.runner.finished import History, Past, claim
from distopt.runs import provenance

if TYPE_CHECKING:
    from distopt.runs.results import Run

KILLED = "the process that made it was killed; make room in the memory, or use fewer processes"


class Job(NamedTuple):
    """A run to make."""

    label: str  # what sets it apart from the other runs of the sweep
    config: DictConfig
    fingerprint: str
    family: str  # the fingerprint without the seed
    workload: str
    code: str
    output: str  # of the sweep, also where the configuration is that of a run to go on with
    folder: Path | None = None  # of the run, if it is known before it is made
    teacher: Path | None = None  # the folder of another run, which must have ended before this one begins

    @classmethod
    def of(cls, label: str, config: DictConfig) -> "Job":
        """Check a configuration and return its job; raises ConfigError."""
        plain = configuration.validate(config)
        family = configuration.fingerprint({**plain, "seed": None})
        marks = configuration.fingerprint(plain), family, configuration.workload(plain)
        folder = Path(plain["output"]).absolute() / plain["name"] if plain["name"] else None
        teacher = Path(configuration.located(plain)["teacher"]) if plain["teacher"] else None
        code = provenance.code_of(plain)
        return cls(label, config, *marks, code, str(plain["output"]), folder, teacher)

    def answer(self, history: History) -> Past | None:
        """Return a run that ended by itself of the same configuration and code."""
        past = history.answer(self.fingerprint, self.code)
        return past if past and past.code == self.code else None

    def claim(self) -> Claim:
        """Return a lock on making the run; another process may have it."""
        return claim(self.output, self.fingerprint, self.code)

    @property
    def free(self) -> bool:
        """Whether nobody is making the run."""
        attempt = self.claim()
        attempt.release()
        return attempt.taken


class Made(NamedTuple):
    """The results of runs that were made together; some may have been found, made by another process meanwhile."""

    runs: Sequence["Run | Past | None"]
    reason: str | None = None  # why there are no results; also None if the runs were not started
    seconds: float = 0.0
    elsewhere: bool = False  # another process is making them

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended one of them."""
        return any(run is not None and run.status == "interrupted" for run in self.runs)


def attempt(
    jobs: Sequence[Job], console: Console, begin: Callable[[], None] = lambda: None, said: set[str] | None = None
) -> Made:
    """Make runs together, but for those that another process has made since the sweep began."""
    claims: list[Claim] = []
    try:
        for job in jobs:
            claims.append(job.claim())
            if not claims[-1].taken:
                return Made([None] * len(jobs), elsewhere=True)
        found = [_found(job, alone=len(jobs) == 1) for job in jobs]
        configs = [each.config for each in found if isinstance(each, Job)]
        if not configs:
            return Made([past for past in found if isinstance(past, Past)])
        begin()
        made = _carry_out(configs, console, said)
        runs = iter(made.runs)
        return made._replace(runs=[next(runs) if isinstance(each, Job) else each for each in found])
    finally:
        for each in claims:
            each.release()


def _found(job: Job, *, alone: bool) -> Past | Job:
    """Return what another process has made of a job since the sweep began, or the job, to go on where it was cut.

    Runs that train together begin together.
    """
    history = History([job.output], job.fingerprint)
    if past := job.answer(history):
        return past
    cut = history.unfinished(job.fingerprint, job.code) if alone else None
    return job._replace(config=configuration.resuming(cut)) if cut else job


def _carry_out(configs: Sequence[DictConfig], console: Console, said: set[str] | None) -> Made:
    """Make runs together; every end but Ctrl-C is a result."""
    started = time.monotonic()
    try:
        runs = runner.run_together(configs, console, signals=True, said=said)
        return Made(runs, None, time.monotonic() - started)
    except DistoptError as error:
        reason = str(error)
    except OSError as error:
        reason = unwritten(error)
    except Exception as error:  # no bug, here or in a library, may end a long sweep
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    return Made([None] * len(configs), reason)


def be_idle() -> None:
    """Ignore Ctrl-C in a process that waits for a task; its parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def attempt_elsewhere(groups: Sequence[Sequence[Job]]) -> list[Made]:
    """In another process than the sweep's, make one group of runs after the other, until Ctrl-C."""
    made: list[Made] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        for jobs in groups:
            made.append(attempt(jobs, Console(quiet=True)))
            if made[-1].interrupted:
                break
    be_idle()
    return made + [Made([None] * len(jobs)) for jobs in groups[len(made) :]]


def results_of(future: Future[list[Made]], task: Sequence[Sequence[int]]) -> list[Made]:
    """Return the results of a task, also if its process was killed or it was never begun."""
    if future.cancelled():
        return [Made([None] * len(numbers)) for numbers in task]
    try:
        return future.result()
    except BrokenProcessPool:
        return [Made([None] * len(numbers), KILLED) for numbers in task]
