"""Batches of runs: what is not finished yet is carried out on several cores, the seeds of a combination together."""

import time
from collections.abc import Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from omegaconf import OmegaConf

from distopt import config as configuration
from distopt.errors import DistoptError
from distopt.runner import run as runner
from distopt.runner.finished import ANSWERED, History
from distopt.runs import provenance

GROUPS_PER_PROCESS = 4


class Sweep(Protocol):
    """A study, or a part of one: every combination of some settings, each with some seeds."""

    @property
    def name(self) -> str:
        """By which its runs are picked."""

    @property
    def seeds(self) -> int:
        """Runs of each combination."""

    @property
    def sweep(self) -> list[str]:
        """The overrides that give all runs, as for `distopt run -m`, the seeds last."""


class Planned(NamedTuple):
    """One run of a study, and the fingerprint by which it is found."""

    study: str
    config: dict[str, Any]
    fingerprint: str


def plan(studies: Sequence[Sweep], output: Path) -> list[list[Planned]]:
    """Return the runs of all studies; those of one list differ only in their seed and share compiled programs."""
    groups = []
    for study in studies:
        combinations = configuration.combine([f"output={output}", *study.sweep])
        plain = [configuration.validate(combination.config) for combination in combinations]
        planned = [Planned(study.name, one, configuration.fingerprint(one)) for one in plain]
        groups += [planned[first : first + study.seeds] for first in range(0, len(planned), study.seeds)]
    return groups


def answers(groups: Sequence[Sequence[Planned]], output: Path) -> dict[str, Path]:
    """Return the folders of planned runs that came to their end, by fingerprint; runs by other code do not count."""
    history, folders = History([output]), {}
    code = cache(provenance.code)
    for run in (run for group in groups for run in group):
        computed_by = code(run.config["optimizer"]["name"])
        found = history.answer(run.fingerprint, computed_by)
        if found and found.code == computed_by:
            folders[run.fingerprint] = found.folder
    return folders


def execute(groups: Sequence[Sequence[Planned]], output: Path, cores: int, together: int = 1) -> list[str]:
    """Carry out the planned runs that have no answer yet; return one line per run that failed.

    Args:
        groups: as planned.
        output: where the runs' folders go.
        cores: processes at the same time.
        together: groups that one process takes at a time: those that follow each other may share compiled programs.
    """
    rest = _unanswered(groups, set(answers(groups, output)))
    total, left_over = sum(map(len, groups)), sum(map(len, rest))
    print(f"{total} runs, {total - left_over} of them finished before", flush=True)
    failures: list[str] = []
    began = time.perf_counter()
    # New processes now and then: compiled programs stay in memory as long as the process.
    with get_context("spawn").Pool(cores, maxtasksperchild=GROUPS_PER_PROCESS) as pool:
        tasks = pool.imap_unordered(_run, [[run.config for run in group] for group in rest], together)
        for done, (words, problems) in enumerate(tasks, start=1):
            left = (time.perf_counter() - began) / done * (len(rest) - done) / 60
            print(f"[{done}/{len(rest)}] {words}, about {left:.0f} min left", flush=True)
            failures += [f"{words}: {problem}" for problem in problems]
    return failures


def _unanswered(groups: Sequence[Sequence[Planned]], answered: set[str]) -> list[list[Planned]]:
    """Return what of each group is left to run; what several studies share is run once."""
    rest = []
    for group in groups:
        if left := [run for run in group if run.fingerprint not in answered]:
            rest.append(left)
            answered |= {run.fingerprint for run in left}
    return rest


def _run(configs: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Run configurations that differ in their seed in this process; return what they are and what went wrong."""
    words = _words(configs[0])
    try:
        runs = runner.run_together([OmegaConf.create(config) for config in configs])
    except DistoptError as error:
        return words, [str(error)]
    return words, [f"seed {r.seed}: {r.status} ({r.info['reason']})" for r in runs if r.status not in ANSWERED]


def _words(config: dict[str, Any]) -> str:
    optimizer = config["optimizer"]
    return f"{optimizer['name']}, {config['workers']} workers, window {optimizer['window']}"
