"""Speed of models: of a language model over its plain loop, and of convolutions in the form chosen for the device."""

import statistics
from pathlib import Path

from scripts.bench.tools import LIMITED, Line, plain_loop, run

GPT = ["model=gpt", "dataset=pydoc", "batch_size=16", "optimizer.window=10"]
CNN = ["model=cnn", "dataset=npz", "batch_size=32", "optimizer.window=10"]


def model_speed(data: Path) -> list[Line]:
    """Measure steps per second of a small language model, and of a convolutional network in both forms."""
    found = []
    for launcher, more in (("sim", ["launcher.width=1"]), ("ray", [])):
        before = plain_loop(GPT, data, 6)
        result = run(*GPT, *LIMITED, f"launcher={launcher}", "workers=1", "stop.updates=8", *more, data=data)
        after = plain_loop(GPT, data, 6)
        warm = result.commits["compute_s"].iloc[2:] if launcher == "ray" else None
        seconds = result.info["train_s"] * 6 / 8 if warm is None else warm.sum()
        speed, plain = 60 / seconds, statistics.mean((before, after))
        what = f"{launcher}: steps/s over plain loop, gpt 64x2, 1 worker"
        found.append(Line(what, speed / plain, "ratio", ">= 0.97", f"{speed:.1f} over {plain:.1f} steps/s"))
        if launcher == "sim":
            first = result.info["startup_s"] + result.info["compile_s"]
            found.append(
                Line("sim: command to first update, gpt 64x2", first, "s", "<= 15", "start-up and compilation")
            )
    xla, ours = (plain_loop(CNN, data, 3, xla=form) for form in (True, False))
    detail = f"{ours:.1f} over {xla:.1f} steps/s, in the plain loop"
    return [*found, Line("cnn on 28x28: slices over XLA's convolution", ours / xla, "ratio", ">= 3 (CPU)", detail)]
