"""The study from its first trial to its report."""

from pathlib import Path

from scripts.study import report, tuning
from scripts.study.sizes import CLUSTERS, Size
from scripts.tools import runs
from scripts.tools.runs import Runs, plan


def carry_out(size: Size, names: list[str], output: Path, results: Path, cores: int) -> list[str]:
    """Tune and compare optimizers, as far as that is not done yet, and write the results; return what failed."""
    trials = plan(size.tuning(names), output)
    failures = runs.carry_out(trials, cores, together=len(size.learning_rates))  # these share compiled programs
    chosen, _ = tuning.choose(Runs(trials, output), names, size.trials)
    compared = plan(size.comparison(chosen), output)
    failures += runs.carry_out(compared, cores, together=len(CLUSTERS))  # these too
    report.write(Runs([*trials, *compared], output), size, names, results)
    return failures
