"""The commands, one module each, and how their arguments are read."""

import argparse
import math


def finite(text: str) -> float:
    """Return the number that an argument gives; argparse turns what is raised into a message."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is no finite number")
    return value
