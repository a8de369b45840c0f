"""Reproduce the claims of CERN-THESIS-2017-103 in reduced form: `python -m scripts.thesis`, or `make thesis`.

Carries out unfinished runs (after Ctrl-C the same command goes on without loss), then writes claims.md and figures.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scripts.tools import command

if TYPE_CHECKING:
    from scripts.thesis.studies import Study


def main() -> int:
    """Run the studies and write the results; return the exit code."""
    parser = command.parser("thesis", __doc__)
    parser.add_argument("--seeds", type=int, default=None, help="at most this many seeds; intervals get wider")
    parser.add_argument("--only", nargs="+", metavar="STUDY", help="run these studies, judge with what is there")
    args = parser.parse_args()

    command.one_thread_each()
    from scripts.thesis.studies import STUDIES, budget

    studies = [study._replace(seeds=min(study.seeds, args.seeds or study.seeds)) for study in STUDIES]
    if unknown := set(args.only or ()) - {study.name for study in studies}:
        parser.error(f"no such study: {', '.join(sorted(unknown))}; --list shows them")
    print(budget(studies, args.cores), flush=True)
    if args.list:
        return 0
    return command.finish(lambda: _carry_out(studies, args), args.results / "claims.md")


def _carry_out(studies: Sequence["Study"], args: argparse.Namespace) -> list[str]:
    """Carry out the chosen runs, judge the claims by all finished runs, and return the failures."""
    from scripts.thesis import report
    from scripts.tools.runs import Runs, carry_out, plan

    groups = plan(studies, args.runs)
    chosen = [group for group in groups if not args.only or group[0].study in args.only]
    failures = carry_out(chosen, args.cores)
    for claim in report.write(Runs(groups, args.runs), args.results):
        print(f"{claim.name:<4} {claim.verdict.value}")
    return failures


if __name__ == "__main__":
    sys.exit(main())
