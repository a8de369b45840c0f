"""The command `distopt`: hands each command to its module, and turns errors into short messages and exit codes."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from distopt.errors import DistoptError, out_of_memory, unwritten

COMMANDS = ("run", "predict", "compare", "plot", "report", "replay", "calibrate", "list", "doctor")
LONGEST, MOST_LINES = 1000, 30  # characters of a line, and lines, of an error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["run"]:  # Hydra owns the command line of `run`
            return importlib.import_module("distopt.commands.run").main(arguments[1:])
        return _dispatch(arguments)
    except DistoptError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output went away, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _refuse(unwritten(error))
    except (MemoryError, RuntimeError) as error:
        if reason := out_of_memory(error):
            return _refuse(reason)
        raise


def _refuse(message: str) -> int:
    """Print an error, cut to size and without control characters that a file may hold; return the exit code."""
    lines = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in message.split("\n")]
    short = [line if len(line) <= LONGEST else f"{line[:LONGEST]} ..." for line in lines[:MOST_LINES]]
    more = [f"... and {len(lines) - MOST_LINES} lines more"] if len(lines) > MOST_LINES else []
    print("distopt: " + "\n  ".join([*short, *more]), file=sys.stderr)
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
