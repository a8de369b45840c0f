"""`distopt run`: one run, or with `-m` one run per combination, configured by Hydra."""

import argparse
import sys
from typing import Any

from distopt.errors import DistoptError

HELP = "run an experiment: Hydra overrides such as optimizer=agn workers=16, -m for several"
EXIT_CODES = {"done": 0, "stopped": 0, "interrupted": 130}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: Hydra reads the command line of `run` itself."""
    parser.add_argument("overrides", nargs="*", help="Hydra overrides and options; see `distopt run --help`")


def main(arguments: list[str]) -> int:
    """Run what the overrides describe; return the worst exit code of all runs."""
    from distopt.launchers import Watch

    watches = [Watch()]  # the first run's start-up includes our own imports

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from distopt.config import check_overrides
    from distopt.runner import expand

    overrides = [argument for argument in arguments if argument[:1] in ("~", "+") or "=" in argument.lstrip("-")]
    overrides = [argument for argument in overrides if not argument.startswith("-")]
    if not {"--config-dir", "-cd", "--config-name", "-cn"} & set(arguments):
        check_overrides(overrides)
    ends: list[tuple[int, str]] = []

    @hydra.main(version_base="1.3", config_path="pkg://distopt.conf", config_name="config")
    def each(config: DictConfig) -> None:
        try:
            each_seed = expand(config)
        except DistoptError as error:
            ends.append(_refuse(error))
            return
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN or len(each_seed) > 1
        for one in each_seed:
            if any(code == EXIT_CODES["interrupted"] for code, _ in ends):
                return  # Ctrl-C ends the whole sweep
            ends.append(_run(one, watches.pop() if watches else None, sweep))

    sys.argv = ["distopt run", *arguments]
    each()
    if len(ends) > 1:
        _print_table([folder for _, folder in ends if folder])
    return max((code for code, _ in ends), default=0)


def _run(config: Any, watch: Any, sweep: bool) -> tuple[int, str]:
    """Run one configuration and tell how it ended; return exit code and folder.

    In a sweep a run that is finished already is not repeated.
    """
    from rich.console import Console

    from distopt.runner import find_finished, run

    try:
        if sweep and (folder := find_finished(config)):
            print(f"finished before, not repeated\nresults: {folder}", flush=True)
            return 0, str(folder)
        finished = run(config, Console(stderr=True), watch)
    except DistoptError as error:
        return _refuse(error)
    from distopt.report import plots  # imports matplotlib: after training, for a quick start

    plots.plot_run(finished, finished.folder / "plots")
    _print_summary(finished)
    print(f"results: {finished.folder}", flush=True)
    return EXIT_CODES.get(finished.status, 1), str(finished.folder)


def _refuse(error: DistoptError) -> tuple[int, str]:
    print(f"distopt: {error}".replace("\n", "\n  "), file=sys.stderr)
    return 1, ""


def _print_summary(finished: Any) -> None:
    """Print how a run ended and its most important numbers."""
    info, summary = finished.info, finished.summary
    reason = f" ({info['reason']})" if info["reason"] else ""
    print(f"{finished.status}{reason}")
    train_s = info.get("virtual_s") if info["clock"] == "virtual" else info["train_s"]
    rows = {
        "updates": f"{summary['updates']:,} from {summary['commits']:,} commits, {summary['samples']:,} samples",
        "time": f"{train_s or 0:.2f} s {info['clock']} (start-up {info['startup_s']:.1f} s, compilation "
        f"{info['compile_s']:.1f} s, evaluation {info['evaluate_s']:.1f} s of the wall clock apart)",
        "staleness": f"mean {_number(summary['staleness_mean'])}, max {_number(summary['staleness_max'])}",
        "shares": f"server busy {_percent(summary['server_busy'])}, workers waiting {_percent(summary['worker_wait'])}",
    }
    for split in ("validation", "train"):
        if f"{split}_loss_final" in summary:
            accuracy = _number(summary[f"{split}_accuracy_final"], 4)
            rows[split] = f"loss {_number(summary[f'{split}_loss_final'], 4)}, accuracy {accuracy} (of the center)"
    for name, words in rows.items():
        print(f"  {name:<11} {words}")
    print(f"  {'plots':<11} {finished.folder / 'plots'}")


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _print_table(folders: list[str]) -> None:
    """Print one table of all runs of a sweep."""
    from distopt.commands import compare

    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    compare.main(parser.parse_args(folders))
