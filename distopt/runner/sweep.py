"""Many runs: finished ones are not repeated, seeds are trained together, and one that fails does not end the rest."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig
from rich.console import Console

from distopt import config as configuration
from distopt.errors import DistoptError
from distopt.records import FINISHED
from distopt.runner import run as runner
from distopt.runner.attempts import Job, Made, attempt, attempt_elsewhere, be_idle, results_of
from distopt.runner.finished import History, Past, expect

if TYPE_CHECKING:
    from distopt.runs.results import Run

NOT_STARTED = "not started"
POLL_S = 0.5
TASKS_PER_PROCESS = 4  # compiled programs stay in memory as long as the process that made them


class End(NamedTuple):
    """How one run of a sweep ended."""

    label: str
    status: str  # as in `run.json`, or `not started`
    reason: str | None = None
    folder: Path | None = None  # None: it has none
    before: bool = False  # finished by an earlier command


class Sweep:
    """Carries out a list of runs.

    In virtual time all seeds of a configuration train together, and several processes may make runs side by side. A run
    is not repeated if one of the same fingerprint, by the same code, is below its `output` and ended by itself (`done`,
    `stopped`, `diverged`). What another process is making at the moment comes last, when that one has ended. Ctrl-C
    ends the sweep; runs that have not begun are `not started`.
    """

    def __init__(
        self,
        console: Console | None = None,
        ended: Callable[[End, "Run | None"], None] | None = None,
        *,
        processes: int = 1,
        chunk: int = 1,
    ) -> None:
        """Prepare a sweep.

        Args:
            console: where plan, progress and failures are printed; None: nowhere.
            ended: called with every end as soon as it is known, and with the results of a run that was just made.
            processes: number of processes that make runs in virtual time side by side; 1: this process makes all runs.
                It always makes those on the wall clock.
            chunk: configurations that one of several processes takes at a time: neighbours may share programs.
        """
        self._console = console or Console(quiet=True)
        self._ended = ended
        self._processes, self._chunk = processes, chunk
        self._seconds: list[float] = []  # wall seconds of the runs made so far
        self._interrupted = False
        self._said: set[str] = set()  # what need not be said again

    def run(self, configs: Sequence[tuple[str, DictConfig]]) -> list[End]:
        """Carry out runs, each given by its label and its configuration; return their ends in the same order."""
        ends: list[End | None] = [None] * len(configs)
        jobs: dict[int, Job] = {}
        for i, (label, config) in enumerate(configs):
            try:
                jobs[i] = Job.of(label, config)
            except DistoptError as error:
                ends[i] = self._tell(End(label, "failed", str(error)))
        for numbers in _in_turn(jobs):
            if not self._interrupted:
                # What a teacher says decides a run's numbers: its fingerprint is known once the teacher is there.
                turn = {i: Job.of(jobs[i].label, jobs[i].config) for i in numbers}
                for i, end in self._carry_out(turn).items():
                    ends[i] = end
        return [end or End(label, NOT_STARTED) for end, (label, _) in zip(ends, configs, strict=True)]

    def _carry_out(self, jobs: Mapping[int, Job]) -> dict[int, End]:
        """Make runs that wait for no other of them, and return the ends of those that began."""
        ends: dict[int, End] = {}
        history = History({job.output for job in jobs.values()})
        for problem in history.problems:
            self._say(f"warning: {problem}", "yellow")
        for i, job in jobs.items():
            if past := job.answer(history):
                ends[i] = self._tell(End(job.label, past.status, None, past.folder, before=True))
            elif past := history.answer(job.fingerprint, job.code):
                self._say(f"{job.label}: {past.folder.name} was computed by other code, and is repeated")
        twins = _twins({i: job for i, job in jobs.items() if i not in ends})
        pending = {i: self._resumed(jobs[i], history) for i in jobs if i not in ends and i not in twins}
        self._say(_plan(len(jobs), [job.workload for job in pending.values()], history))
        try:
            while pending:
                elsewhere: list[int] = []
                for i, end in self._make(pending, history, elsewhere):
                    ends[i] = end
                pending = {i: pending[i] for i in elsewhere if not self._interrupted}
                if pending:
                    history = self._wait(pending)
                for i, job in [*pending.items()]:
                    if past := job.answer(history):
                        ends[i] = self._tell(End(job.label, past.status, None, past.folder, before=True))
                        del pending[i]
        except KeyboardInterrupt:  # pressed between two runs, or while figures are drawn
            self._interrupted = True
        for i, first in twins.items():
            if first in ends:
                ends[i] = self._tell(ends[first]._replace(label=jobs[i].label, before=True))
        return ends

    def _wait(self, pending: Mapping[int, Job]) -> History:
        """Wait until some of the runs that other processes are making can be had; return what there is then."""
        labels = ", ".join(job.label for job in pending.values())
        if labels not in self._said:
            self._say(f"waiting for what another process is making: {labels}")
            self._said.add(labels)
        groups = _together(pending)
        while not any(all(pending[i].free for i in group) for group in groups):
            time.sleep(POLL_S)
        return History({job.output for job in pending.values()})

    def _resumed(self, job: Job, history: History) -> Job:
        """Return a job that resumes a run that was cut off, if there is one with a checkpoint, else the same job."""
        if (folder := history.unfinished(job.fingerprint, job.code)) is None:
            return job
        self._say(f"{job.label}: goes on in {folder.name}, where it was cut off")
        return job._replace(config=configuration.resuming(folder))

    def _make(self, pending: Mapping[int, Job], history: History, elsewhere: list[int]) -> Iterator[tuple[int, End]]:
        """Make the pending runs and yield their ends; stop when one is interrupted.

        Those that another process is making are added to `elsewhere`.
        """
        left = dict(pending)
        for numbers, made in self._attempts(pending, left, history):
            if made.elsewhere:
                elsewhere += numbers
                continue
            fresh = sum(not isinstance(run, Past) for run in made.runs)
            for i, run in zip(numbers, made.runs, strict=True):
                job = left.pop(i)
                if isinstance(run, Past):
                    yield i, self._tell(End(job.label, run.status, None, run.folder, before=True))
                elif run:
                    history.add(run.folder, run.info)
                    self._seconds.append(made.seconds / fresh)
                    yield i, self._tell(End(job.label, run.status, run.info["reason"], run.folder), run)
                elif made.reason:
                    yield i, self._tell(End(job.label, "failed", made.reason))

    def _attempts(
        self, pending: Mapping[int, Job], left: Mapping[int, Job], history: History
    ) -> Iterator[tuple[list[int], Made]]:
        """Yield the results of runs that are made together; those that other processes make come first."""
        groups = _together(pending)

        def announce(numbers: Sequence[int]) -> None:
            expected, _ = expect((job.workload for job in left.values()), history, self._seconds)
            about = f" (about {duration(expected)} left)" if expected and len(left) < len(pending) else ""
            first = len(pending) - len(left) + 1
            which = f"run {first}" if len(numbers) == 1 else f"runs {first} to {first + len(numbers) - 1}"
            self._say(f"{which} of {len(pending)}{about}: {', '.join(pending[i].label for i in numbers)}")

        beside = [group for group in groups if self._processes > 1 and runner.is_virtual(pending[group[0]].config)]
        for numbers, made in self._side_by_side(beside, pending) if beside else ():
            if not made.elsewhere:
                announce(numbers)
            self._interrupted |= made.interrupted
            yield numbers, made
        for numbers in (group for group in groups if group not in beside):
            if self._interrupted:
                return
            begin = partial(announce, numbers)
            made = attempt([pending[i] for i in numbers], self._console, begin, self._said)
            self._interrupted |= made.interrupted
            yield numbers, made

    def _side_by_side(self, groups: list[list[int]], jobs: Mapping[int, Job]) -> Iterator[tuple[list[int], Made]]:
        """Make runs in processes of their own, and yield them as they end; Ctrl-C reaches those processes as well."""
        tasks = [groups[first : first + self._chunk] for first in range(0, len(groups), self._chunk)]
        most = min(self._processes, len(tasks))
        spawn = get_context("spawn")  # JAX's threads do not survive a fork
        futures: dict[Future[list[Made]], list[list[int]]] = {}
        with ProcessPoolExecutor(most, spawn, be_idle, max_tasks_per_child=TASKS_PER_PROCESS) as pool:
            try:
                while (tasks and not self._interrupted) or futures:
                    while tasks and len(futures) < most and not self._interrupted:  # none waits in the pool
                        task = tasks.pop(0)
                        futures[pool.submit(attempt_elsewhere, [[jobs[i] for i in group] for group in task])] = task
                    try:
                        done, _ = wait(futures, return_when=FIRST_COMPLETED)
                    except KeyboardInterrupt:
                        self._interrupted, done = True, {future for future in futures if future.cancel()}
                    for future in done:
                        task = futures.pop(future)
                        for numbers, made in zip(task, results_of(future, task), strict=True):
                            self._interrupted |= made.interrupted
                            yield numbers, made
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _tell(self, end: End, run: "Run | None" = None) -> End:
        if end.status not in FINISHED and not end.before:
            self._say(f"{end.status}: {end.label}: {end.reason}", "red")
        if self._ended:
            self._ended(end, run)
        return end

    def _say(self, words: str, style: str | None = None) -> None:
        self._console.print(words, style=style, markup=False, soft_wrap=True, highlight=False)


def _in_turn(jobs: Mapping[int, Job]) -> list[list[int]]:
    """Return the numbers of the runs in turns: a run comes later than the one that makes its teacher."""
    turns: list[list[int]] = []
    left = dict(jobs)
    while left:
        unmade = {job.folder for job in left.values()} - {None}
        ready = [i for i, job in left.items() if job.teacher not in unmade]
        turns.append(ready or [*left])  # runs that teach each other find no teacher, and say so
        left = {i: job for i, job in left.items() if i not in turns[-1]}
    return turns


def _together(jobs: Mapping[int, Job]) -> list[list[int]]:
    """Group runs that differ only in the seed, if their launcher trains several at once."""
    groups: dict[Hashable, list[int]] = {}
    for i, job in jobs.items():
        alone = not runner.trains_together(job.config) or job.config.get("name") or job.config.get("resume")
        groups.setdefault(i if alone else (job.family, job.output), []).append(i)
    return list(groups.values())


def _twins(jobs: Mapping[int, Job]) -> dict[int, int]:
    """Return the runs that repeat an earlier one of the list, with the number of the earlier one."""
    first: dict[Hashable, int] = {}
    found = {}
    for i, job in jobs.items():
        key = job.fingerprint, job.output, job.folder
        if first.setdefault(key, i) != i:
            found[i] = first[key]
    return found


def _plan(runs: int, workloads: Sequence[str], history: History) -> str:
    """Return a line on how many runs there are to make, and how long they may take if that is known."""
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
