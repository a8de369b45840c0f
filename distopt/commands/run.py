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
    import hydra
    from omegaconf import DictConfig

    from distopt.config import check_overrides

    overrides = [argument for argument in arguments if not argument.startswith("-")]
    if not {"--config-dir", "-cd", "--config-name", "-cn"} & set(arguments):
        check_overrides(overrides)
    ends: list[tuple[int, str]] = []

    @hydra.main(version_base="1.3", config_path="pkg://distopt.conf", config_name="config")
    def each(config: DictConfig) -> None:
        if any(code == EXIT_CODES["interrupted"] for code, _ in ends):
            return  # Ctrl-C ends the whole sweep
        ends.append(_run(config))

    sys.argv = ["distopt run", *arguments]
    each()
    if len(ends) > 1:
        _print_table([folder for _, folder in ends if folder])
    return max((code for code, _ in ends), default=0)


def _run(config: Any) -> tuple[int, str]:
    """Run one configuration and tell how it ended; return exit code and folder."""
    from rich.console import Console

    from distopt.report import plots
    from distopt.runner import run

    try:
        finished = run(config, Console(stderr=True))
    except DistoptError as error:
        print(f"distopt: {error}".replace("\n", "\n  "), file=sys.stderr)
        return 1, ""
    plots.plot_run(finished, finished.folder / "plots")
    _print_summary(finished)
    print(f"results: {finished.folder}", flush=True)
    return EXIT_CODES.get(finished.status, 1), str(finished.folder)
