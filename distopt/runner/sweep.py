"""Many runs: finished ones are not repeated, seeds are trained together, and one that fails does not end the rest."""

import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig
from rich.console import Console

from distopt import config as configuration
from distopt.errors import DistoptError, unwritten
from distopt.records import FINISHED
from distopt.runner import run as runner
from distopt.runner.finished import History, expect
from distopt.runs import provenance

if TYPE_CHECKING:
    from distopt.runs.results import Run

NOT_STARTED = "not started"


class Job(NamedTuple):
    """A run to be."""

    label: str  # what sets it apart from the other runs of the sweep
    config: DictConfig
    fingerprint: str
    family: str  # the fingerprint but for the seed
    workload: str
    code: str


class End(NamedTuple):
    """What became of one run of a sweep."""

    label: str
    status: str  # as in `run.json`, or `not started`
    reason: str | None = None
    folder: Path | None = None  # None: it left none
    before: bool = False  # finished by an earlier command


class Sweep:
    """Carries out a list of runs, one after the other or, in virtual time, all seeds of a configuration together.

    A run is not repeated if one of the same fingerprint, by the same code, is below its `output` and came to an end of
    its own (`done`, `stopped`, `diverged`). Ctrl-C ends the sweep; what has not begun is `not started`.
    """

    def __init__(
        self, console: Console | None = None, ended: Callable[[End, "Run | None"], None] | None = None
    ) -> None:
        """Prepare a sweep.

        Args:
            console: where plan, progress and failures are told; None: nowhere.
            ended: called with every end as soon as it is there, and with the results of a run that was just made.
        """
        self._console = console or Console(quiet=True)
        self._ended = ended
        self._seconds: list[float] = []  # that the runs made so far took

    def run(self, configs: Sequence[tuple[str, DictConfig]]) -> list[End]:
        """Carry out runs, each given by a label that sets it apart and its configuration; return their ends."""
        ends: list[End | None] = [None] * len(configs)
        jobs: dict[int, Job] = {}
        for i, (label, config) in enumerate(configs):
            try:
                jobs[i] = _job(label, config)
            except DistoptError as error:
                ends[i] = self._tell(End(label, "failed", str(error)))
        history = History({job.config["output"] for job in jobs.values()})
        for problem in history.problems:
            self._say(f"warning: {problem}", "yellow")
        for i, job in jobs.items():
            past = history.answer(job.fingerprint, job.code)
            if past and past.code == job.code:
                ends[i] = self._tell(End(job.label, past.status, None, past.folder, before=True))
            elif past:
                self._say(f"{job.label}: {past.folder.name} was computed by other code, and is repeated")
        pending = {i: self._resumed(job, history) for i, job in jobs.items() if ends[i] is None}
        self._say(_plan(len(configs), [job.workload for job in pending.values()], history))
        with suppress(KeyboardInterrupt):  # pressed between two runs, or while figures are drawn
            for i, end in self._make(pending, history):
                ends[i] = end
        return [end or End(label, NOT_STARTED) for end, (label, _) in zip(ends, configs, strict=True)]

    def _resumed(self, job: Job, history: History) -> Job:
        """Return the job of going on with a run that was cut off, if there is one with a checkpoint."""
        if (folder := history.unfinished(job.fingerprint, job.code)) is None:
            return job
        self._say(f"{job.label}: goes on in {folder.name}, where it was cut off")
        return job._replace(config=configuration.resuming(folder))

    def _make(self, pending: dict[int, Job], history: History) -> Iterator[tuple[int, End]]:
        """Make the runs that are not answered yet; stop when one is interrupted."""
        left = dict(pending)
        for numbers in _together(pending):
            jobs = [left[i] for i in numbers]
            expected, _ = expect((job.workload for job in left.values()), history, self._seconds)
            about = f" (about {duration(expected)} left)" if expected and len(left) < len(pending) else ""
            first = len(pending) - len(left) + 1
            which = f"run {first}" if len(jobs) == 1 else f"runs {first} to {first + len(jobs) - 1}"
            self._say(f"{which} of {len(pending)}{about}: {', '.join(job.label for job in jobs)}")
            started = time.monotonic()
            runs, reason = _attempt(jobs, self._console)
            each = (time.monotonic() - started) / len(jobs)
            for i, job, run in zip(numbers, jobs, runs, strict=True):
                del left[i]
                end = End(job.label, "failed", reason)
                if run:
                    history.add(run.folder, run.info)
                    self._seconds.append(each)
                    end = End(job.label, run.status, run.info["reason"], run.folder)
                yield i, self._tell(end, run)
            if any(run and run.status == "interrupted" for run in runs):
                return

    def _tell(self, end: End, run: "Run | None" = None) -> End:
        if end.status not in FINISHED and not end.before:
            self._say(f"{end.status}: {end.label}: {end.reason}", "red")
        if self._ended:
            self._ended(end, run)
        return end

    def _say(self, words: str, style: str | None = None) -> None:
        self._console.print(words, style=style, markup=False, soft_wrap=True, highlight=False)


def _job(label: str, config: DictConfig) -> Job:
    """Check a configuration and say what its run is; raises ConfigError."""
    plain = configuration.validate(config)
    code = provenance.code(plain["optimizer"]["name"])
    family = configuration.fingerprint({**plain, "seed": None})
    return Job(label, config, configuration.fingerprint(plain), family, configuration.workload(plain), code)


def _together(jobs: Mapping[int, Job]) -> list[list[int]]:
    """Put runs that differ in nothing but the seed together, if their launcher trains several at once."""
    groups: dict[Hashable, list[int]] = {}
    for i, job in jobs.items():
        alone = not runner.trains_together(job.config) or job.config.get("name") or job.config.get("resume")
        groups.setdefault(i if alone else (job.family, str(job.config.output)), []).append(i)
    return list(groups.values())


def _attempt(jobs: Sequence[Job], console: Console) -> tuple[Sequence["Run | None"], str | None]:
    """Return the results of runs that are made together, or why there are none."""
    try:
        return runner.run_together([job.config for job in jobs], console), None
    except DistoptError as error:
        reason = str(error)
    except OSError as error:
        reason = unwritten(error)
    except Exception as error:  # a mistake of ours or of a library must not cost the rest of a long sweep
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    return [None] * len(jobs), reason


def _plan(runs: int, workloads: Sequence[str], history: History) -> str:
    """Say how much there is to do, and how long it may take if that can be told."""
    words = f"{runs} runs"
    if len(workloads) < runs:
        words += f", {len(workloads)} of them to be made"
    expected, judged_by = expect(workloads, history)
    if expected is None:
        return f"{words}; the first one will tell how long they take"
    return f"{words}; about {duration(expected)}, judging by {judged_by} like them" if expected else words


def duration(seconds: float) -> str:
    """Return a time in words, to two units."""
    for size, unit, below, rest in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, part = divmod(round(seconds / below), size // below)
            return f"{whole} {unit} {part} {rest}"
    return f"{seconds:.0f} s"
