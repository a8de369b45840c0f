"""The study from its first trial to its report."""

from pathlib import Path

from scripts.study import report, tuning
from scripts.study.sizes import CLUSTERS, Size
from scripts.tools.batch import execute, plan
from scripts.tools.runs import Runs


def carry_out(size: Size, names: list[str], output: Path, results: Path, cores: int) -> list[str]:
    """Tune and compare optimizers, as far as that is not done yet, and write the results; return what failed."""
    trials = plan(size.tuning(names), output)
    failures = execute(trials, output, cores, together=len(size.learning_rates))  # these share compiled programs
    chosen, _ = tuning.choose(Runs(trials, output), names, size.trials)
    compared = plan(size.comparison(chosen), output)
    failures += execute(compared, output, cores, together=len(CLUSTERS))  # these too
    report.write(Runs([*trials, *compared], output), size, names, results)
    return failures
