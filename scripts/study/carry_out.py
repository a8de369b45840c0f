"""The whole study, from its first trial to its report."""

from pathlib import Path

from scripts.study import report, tuning
from scripts.study.sizes import CLUSTERS, Size
from scripts.tools import runs
from scripts.tools.runs import Runs, plan


def carry_out(size: Size, names: list[str], output: Path, results: Path, cores: int) -> list[str]:
    """Tune and compare optimizers by the runs still missing, and write the results; return the failures."""
    trials = plan(size.tuning(names), output)
    failures = runs.carry_out(trials, cores, together=len(size.learning_rates))  # groups that share compiled programs
    chosen, _ = tuning.choose(Runs(trials, output), names, size.trials)
    compared = plan(size.comparison(chosen), output)
    failures += runs.carry_out(compared, cores, together=len(CLUSTERS))  # as above
    report.write(Runs([*trials, *compared], output), size, names, results)
    return failures
