"""Compare all optimizers with equal tuning budgets in virtual time: `python -m scripts.study`, or `make study`.

Carries out unfinished runs (after Ctrl-C the same command goes on without loss), then writes tables and figures.
"""

import sys

from scripts.tools import command


def main() -> int:
    """Tune, compare and write the results; return the exit code."""
    parser = command.parser("study", __doc__)
    parser.add_argument("--reduced", action="store_true", help="the version that the documentation shows, 35 minutes")
    parser.add_argument("--only", nargs="+", metavar="OPTIMIZER", help="compare these alone")
    args = parser.parse_args()

    command.one_thread_each()
    from scripts.study import sizes
    from scripts.study.carry_out import carry_out

    size, every = (sizes.REDUCED if args.reduced else sizes.FULL), sizes.optimizers()
    names = [name for name in every if not args.only or name in args.only]
    if unknown := set(args.only or ()) - set(every):
        parser.error(f"no such optimizer: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    count, seconds = size.cost(len(names))
    print(f"{count} runs of {len(names)} optimizers, about {seconds / args.cores / 60:.0f} min on {args.cores} cores")
    if args.list:
        return 0
    results = args.results / size.name
    return command.finish(lambda: carry_out(size, names, args.runs, results, args.cores), results / "report.md")


if __name__ == "__main__":
    sys.exit(main())
