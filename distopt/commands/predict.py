"""`distopt predict`: predict time, staleness, utilisation and traffic of a run in virtual time, without training."""

import argparse
import sys
from typing import Any

HELP = "predict time, staleness, utilisation and traffic of a run from its cluster; nothing is trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distopt predict`."""
    parser.add_argument("overrides", nargs="*", help="Hydra overrides such as workers=20 cluster=thesis")
    parser.add_argument("--config-dir", metavar="DIR", help="with configuration files of your own")
    parser.add_argument("--samples", type=_count, help="size of the training set, instead of looking at the data")
    parser.add_argument("--parameters", type=_count, help="float32 parameters, instead of those of the model")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def main(args: argparse.Namespace) -> int:
    """Print the prediction."""
    import json

    from distopt.cluster import Cluster, predict
    from distopt.config import compose, validate
    from distopt.launchers.workload import workload_from_config

    config = validate(compose(args.overrides, args.config_dir))
    cluster = Cluster.from_settings(config["cluster"])
    load = workload_from_config(config, args.samples, args.parameters)
    stop = config["stop"]
    if any(stop[key] is not None for key in ("accuracy", "loss", "target")):
        print("stop.accuracy, stop.loss and stop.target need training and are left out", file=sys.stderr)
    found = {"cluster": str(cluster), **predict(cluster, load, stop["updates"], stop["seconds"])}
    print(json.dumps(found) if args.format == "json" else _table(found))
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


def _table(found: dict[str, Any]) -> str:
    """Return one line per quantity; the histogram is only in the JSON."""
    lines = []
    for name, value in found.items():
        if name.endswith(("_busy", "_wait")):
            value = f"{100 * value:.1f} %"
        elif isinstance(value, int | float):
            value = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        if not isinstance(value, list):
            lines.append(f"{name:<16} {value}")
    return "\n".join(lines)
