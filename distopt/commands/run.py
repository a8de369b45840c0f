"""`distopt run`: one run, or with `-m` one run per combination, configured by Hydra overrides."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distopt.errors import ConfigError, unwritten

if TYPE_CHECKING:
    from distopt.config import Combination
    from distopt.runner.sweep import End
    from distopt.runs.results import Run

HELP = "run an experiment: Hydra overrides such as optimizer=agn workers=16, -m for several"
INFORMING = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--help", "-h", "--resolve", "--package", "-p")
EXIT_CODES = {"done": 0, "stopped": 0, "interrupted": 130, "not started": 130}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that distopt reads; Hydra answers the others (`--help`, `--cfg job`, `--info`, ...) itself."""
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, anywhere on the line")
    parser.add_argument("-r", "--run", action="store_true", help="one run, as without it")
    parser.add_argument("-m", "--multirun", action="store_true", help="one run per combination of the values given")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="with configuration files of your own")
    parser.add_argument("-cn", "--config-name", metavar="NAME", default="config", help="of the primary configuration")


def main(arguments: list[str]) -> int:
    """Carry out the runs that overrides describe; return the largest exit code of all runs."""
    from distopt.records import Watch

    watch = Watch()  # the start-up time of a run includes distopt's imports
    parser = argparse.ArgumentParser(prog="distopt run", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    if any(argument.partition("=")[0] in INFORMING for argument in arguments):
        return _inform(arguments)
    given, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        return _inform(arguments)
    from distopt.config import combine

    runs = combine(given.overrides, given.config_dir, given.config_name, multirun=given.multirun)
    if len(runs) > 1 or given.multirun:
        return _run_several(runs, arguments)
    from rich.console import Console

    from distopt.runner import run as runner

    finished = runner.run(runs[0].config, Console(stderr=True), watch, signals=True)
    _show(finished)
    return EXIT_CODES.get(finished.status, 1)


def _inform(arguments: list[str]) -> int:
    """Let Hydra answer options that start no run, such as `--help` and `--cfg job`."""
    if several := [argument for argument in arguments if argument in ("-m", "--multirun")]:
        raise ConfigError(f"{several[0]}: Hydra shows one configuration; leave it out and give every key one value")
    import hydra

    @hydra.main(version_base="1.3", config_path="pkg://distopt.conf", config_name="config")
    def refuse(config: Any) -> None:
        options = " ".join(argument for argument in arguments if argument.startswith("-"))
        raise SystemExit(f"distopt: {options}: starts no run; see `distopt run --help`")

    sys.argv = ["distopt run", *arguments]
    refuse()
    return 0


def _run_several(runs: Sequence["Combination"], arguments: list[str]) -> int:
    """Carry out a sweep and print its table, and after an interruption the command to go on."""
    from rich.console import Console

    from distopt.report import ends
    from distopt.runner.sweep import Sweep

    def show(end: "End", run: "Run | None") -> None:
        if run:
            _show(run)
        elif end.before:
            print(f"{end.label}: finished before, not repeated\nresults: {end.folder}", flush=True)

    carried_out = Sweep(Console(stderr=True), show).run(
        list(zip(labels(runs), (run.config for run in runs), strict=True))
    )
    code = max(EXIT_CODES.get(end.status, 1) for end in carried_out)
    _compare([str(end.folder) for end in carried_out if end.folder])
    print(ends.table(carried_out), end="", flush=True)
    if code == EXIT_CODES["interrupted"]:
        print(f"interrupted; to go on: {shlex.join(['distopt', 'run', *arguments])}", file=sys.stderr)
    return code


def labels(runs: Sequence["Combination"]) -> list[str]:
    """Return for each run the overrides that not all runs share."""
    shared = set(runs[0].words).intersection(*(run.words for run in runs))
    return [" ".join(word for word in run.words if word not in shared) or "the only run" for run in runs]


def _show(run: "Run") -> None:
    """Print how a run ended, and draw its figures."""
    from distopt.report import ends

    print(ends.summary(run), flush=True)
    from distopt.report.figures import plots  # imports matplotlib: nobody waits for that to read the end

    try:
        plots.plot_run(run, run.folder / "plots")
    except OSError as error:
        print(f"distopt: no figures: {unwritten(error)}", file=sys.stderr)
    print(f"results: {run.folder}", flush=True)


def _compare(folders: list[str]) -> None:
    """Print the comparison of a sweep's configurations."""
    from distopt.commands import compare

    if len(folders) > 1:
        parser = argparse.ArgumentParser()
        compare.add_arguments(parser)
        try:
            compare.main(parser.parse_args(folders))
        except ConfigError as error:
            print(f"distopt: no comparison: {error}", file=sys.stderr)
        print()
