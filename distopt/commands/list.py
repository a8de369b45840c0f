"""`distopt list`: list the available choices, with one line of explanation each."""

import argparse

HELP = "list optimizers, models, datasets, ... with one line of explanation each"
KINDS = {
    "optimizers": "optimizer",
    "compression": "compression",
    "local": "local",
    "models": "model",
    "datasets": "dataset",
    "launchers": "launcher",
    "clusters": "cluster",
    "experiments": "experiment",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distopt list`."""
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="what to list; default: everything")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def main(args: argparse.Namespace) -> int:
    """Print the choices."""
    import json

    from distopt.config import descriptions

    found = {kind: dict(descriptions(group)) for kind, group in KINDS.items() if args.kind in (None, kind)}
    found.get("optimizers", {}).update(_third_party())
    if args.format == "json":
        print(json.dumps(found[args.kind] if args.kind else found, indent=2))
        return 0
    for kind, entries in found.items():
        if not args.kind:
            print(f"{kind} ({KINDS[kind]}=...)")
        width = max(map(len, entries), default=0)
        for name, words in entries.items():
            print(f"  {name:<{width}}  {words}")
    return 0


def _third_party() -> dict[str, str]:
    """Return the optimizers that other installed packages register."""
    from importlib.metadata import entry_points

    return {point.name: f"from {point.value}" for point in entry_points(group="distopt.optimizers")}
