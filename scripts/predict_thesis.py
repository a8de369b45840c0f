"""Predict the 98 training times published in CERN-THESIS-2017-103, chapter 3, with cluster=thesis.

    python scripts/predict_thesis.py [FOLDER]

No training takes place. Writes FOLDER/predicted_times.csv and FOLDER/predicted_times.{png,svg}; FOLDER is
results/thesis by default. Relative errors are predicted / published - 1.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter, ScalarFormatter

from distopt.cluster import Cluster, predict
from distopt.config import compose, validate
from distopt.launchers.workload import workload_from_config
from distopt.report.figures.style import STYLE, color, marker

PUBLISHED = Path(__file__).parents[1] / "results" / "thesis" / "published" / "agn_vs_aeasgd.csv"
NAMES = {"agn": "AGN", "aeasgd": "AEASGD"}
SAMPLES, PARAMETERS = 60_000, 4_798_010  # MNIST, and the MLP 784-1000-2000-1000-10
SETUP = ["cluster=thesis", "batch_size=128", "epochs=40"]


def predictions(published: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell and optimizer: workers, window, published_s, predicted_s, relative_error."""
    rows = []
    for optimizer in NAMES:
        base = validate(compose([*SETUP, f"optimizer={optimizer}"]))
        cluster = Cluster.from_settings(base["cluster"])
        for cell in published.to_dict("records"):
            window = {**base["optimizer"], "window": int(cell["window"])}
            config = {**base, "workers": int(cell["workers"]), "optimizer": window}
            found = predict(cluster, workload_from_config(config, SAMPLES, PARAMETERS))
            times = {"published_s": cell[f"{optimizer}_time_s"], "predicted_s": round(found["time_s"], 2)}
            rows.append({"optimizer": optimizer, "workers": cell["workers"], "window": cell["window"], **times})
    frame = pd.DataFrame(rows)
    frame["relative_error"] = (frame.predicted_s / frame.published_s - 1).round(4)
    return frame


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Draw predicted against published times, and the relative errors, as PNG and SVG."""
    from matplotlib import pyplot as plt

    with matplotlib.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 3.3), layout="constrained")
        ends = np.array([230.0, 1350.0])
        left.fill_between(ends, 0.95 * ends, 1.05 * ends, color="0.85", lw=0, label="within 5 %")
        left.plot(ends, ends, color="0.4", lw=0.8)
        right.axhspan(-0.05, 0.05, color="0.85", lw=0)
        right.axhline(0, color="0.4", lw=0.8)
        for shift, (optimizer, part) in zip((-0.6, 0.6), frame.groupby("optimizer", sort=False), strict=True):
            name = str(optimizer)
            look = {"color": color(name), "marker": marker(name), "ls": "", "ms": 4, "alpha": 0.75, "mew": 0}
            label = f"{NAMES[name]}: median error {part.relative_error.abs().median():.1%}"
            left.plot(part.published_s, part.predicted_s, label=label, **look)
            right.plot(part.workers + shift, part.relative_error, **look)
        _label(left, right)
        for suffix in ("png", "svg"):
            figure.savefig(path.with_suffix(f".{suffix}"), metadata={"Date": None} if suffix == "svg" else None)
        plt.close(figure)


def _label(left: Axes, right: Axes) -> None:
    left.set(xscale="log", yscale="log", xlabel="published training time (s)", ylabel="predicted (s)", aspect="equal")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
        axis.set_ticks([250, 500, 1000])
    left.legend(loc="upper left")
    right.set(xlabel="workers (a point per window)", ylabel="predicted / published − 1")
    right.yaxis.set_major_formatter(PercentFormatter(1))


def main(folder: Path) -> None:
    """Write the table and the figure, and print the errors."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = predictions(pd.read_csv(PUBLISHED))
    frame.to_csv(folder / "predicted_times.csv", index=False)
    draw(frame, folder / "predicted_times")
    for optimizer, part in frame.groupby("optimizer", sort=False):
        size = part.relative_error.abs()
        print(f"{optimizer}: {len(part)} cells, median error {size.median():.1%}, 90 % within {size.quantile(0.9):.1%}")
    print(f"wrote {folder / 'predicted_times.csv'}, .png, .svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PUBLISHED.parents[1])
