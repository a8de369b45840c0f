"""The command `distopt`: hands each command to its module, and turns errors into short messages and exit codes."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from distopt.errors import DistoptError

COMMANDS = ("run", "predict", "compare", "plot", "report", "replay", "calibrate", "list", "doctor")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["run"]:  # Hydra owns the command line of `run`
            return importlib.import_module("distopt.commands.run").main(arguments[1:])
        return _dispatch(arguments)
    except DistoptError as error:
        print(f"distopt: {error}".replace("\n", "\n  "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="distopt", description="Compare distributed optimizers under one roof.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"distopt.commands.{name}")
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(subparser)
        subparser.set_defaults(main=module.main)
    parsed = parser.parse_args(arguments)
    if parsed.version:
        from importlib.metadata import version

        print(f"distopt {version('distopt')}")
        return 0
    if parsed.command is None:
        parser.print_help()
        return 2
    return parsed.main(parsed)
