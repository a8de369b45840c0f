"""Speed of models over their plain loops, and of convolutions and sparse features over their other form."""

import statistics
from pathlib import Path

from scripts.bench.sparse import sparse_speed
from scripts.bench.tools import LIMITED, Line, plain_loop, run

GPT = ["model=gpt", "dataset=pydoc", "batch_size=16", "optimizer.window=10"]
RESNET = ["model=resnet", "dataset=digits", "batch_size=32", "optimizer.window=10"]
CNN = ["model=cnn", "dataset=npz", "batch_size=32", "optimizer.window=10"]


def model_speed(data: Path) -> list[Line]:
    """Measure steps per second of a language model, a residual network, and two models in both of their forms."""
    found = [_residual(data)]
    for launcher, more in (("sim", ["launcher.width=1"]), ("ray", [])):
        before = plain_loop(GPT, data, 6)
        result = run(*GPT, *LIMITED, f"launcher={launcher}", "workers=1", "stop.updates=14", *more, data=data)
        after = plain_loop(GPT, data, 6)
        if launcher == "sim":
            seconds, steps = result.info["train_s"], result.commits["steps"].sum()
        else:  # from the second commit on: the first window touches its memory for the first time
            times = result.commits["time_s"]
            seconds, steps = times.iloc[-1] - times.iloc[1], result.commits["steps"].iloc[2:].sum()
        speed, plain = steps / seconds, statistics.mean((before, after))
        what = f"{launcher}: steps/s over plain loop, gpt 64x2, 1 worker"
        found.append(Line(what, speed / plain, "ratio", ">= 0.97", f"{speed:.1f} over {plain:.1f} steps/s"))
        if launcher == "sim":
            first = (
                result.info["startup_s"] + result.info["compile_s"] + seconds * result.commits["steps"].iloc[0] / steps
            )
            detail = "start-up, all compilation, one update"
            found.append(Line("sim: command to first update, gpt 64x2", first, "s", "<= 15", detail))
    xla, ours = (plain_loop(CNN, data, 3, xla=form) for form in (True, False))
    detail = f"{ours:.1f} over {xla:.1f} steps/s, in the plain loop"
    found.append(Line("cnn on 28x28: slices over XLA's convolution", ours / xla, "ratio", ">= 3 (CPU)", detail))
    return [*found, *sparse_speed(data)]


def _residual(data: Path) -> Line:
    """Compare a small residual network in virtual time with its plain loop."""
    before = plain_loop(RESNET, data, 60)
    result = run(*RESNET, *LIMITED, "launcher=sim", "launcher.width=1", "workers=1", "stop.updates=60", data=data)
    after = plain_loop(RESNET, data, 60)
    speed, plain = result.commits["steps"].sum() / result.info["train_s"], statistics.mean((before, after))
    detail = f"{speed:.1f} over {plain:.1f} steps/s (compilation {result.info['compile_s']:.1f} s)"
    what = "sim: steps/s over plain loop, resnet 16-32 on digits, 1 worker"
    return Line(what, speed / plain, "ratio", ">= 0.97", detail)
