"""Claims D6, D12 and D17 to D20: times, model averaging, ADAG's factors, and the direction of AGN's commits."""

from itertools import pairwise

import numpy as np
import pandas as pd

from distopt.metrics.convergence import to_target
from distopt.metrics.statistics import Interval, mean_interval, median_interval, paired_difference
from distopt.runs.results import Run
from scripts.predict_thesis import PUBLISHED, predictions
from scripts.thesis.analytic import averaged_beale
from scripts.thesis.grid import WORKERS
from scripts.thesis.verdicts import Claim, Part, above, below, claim, exact, show, within
from scripts.tools.runs import Array, Runs, accuracy, final

GAMMAS = (1e-3, 1e-4, 1e-5)
FACTORS = (0.98, 0.99, 0.95)  # smallest mean factors of figure 4.3
TARGET = 0.8  # validation accuracy


def judge(runs: Runs) -> list[Claim]:
    """Return the claims of this module."""
    return [_near_optimal(runs), _doubling(runs), _averaging(), _factors(runs), _peak(runs), _direction(runs)]


def _near_optimal(runs: Runs) -> Claim:
    cells = {
        "AGN": runs.pick("grid", optimizer="agn", workers=20, window=15),
        "AEASGD": runs.pick("grid", optimizer="aeasgd", workers=20, window=30),
        "DynSGD": runs.pick("dynsgd long", window=10),
    }
    parts = []
    for what, order in (
        ("time_s", ("DynSGD", "AGN", "AEASGD")),
        ("train_accuracy", ("AGN", "DynSGD", "AEASGD")),
        ("validation_accuracy", ("AGN", "AEASGD", "DynSGD")),
    ):
        for more, less in pairwise(order):
            difference = _difference(cells[more], cells[less], what)
            digits = 0 if what == "time_s" else 4
            words = f"{what.replace('_', ' ')}, {more} less {less}: {show(difference, digits)}"
            parts.append(Part(words, above(difference, 0.0)))
    return claim("D6", parts)


def _difference(a: list[Run], b: list[Run], what: str) -> Interval:
    if what == "time_s":
        x, y = (np.array([run.summary["time_s"] for run in runs]) for runs in (a, b))
    else:
        x, y = final(a, what), final(b, what)
    count = min(len(x), len(y))
    return paired_difference(x[:count], y[:count])[0]


def _doubling(runs: Runs) -> Claim:
    frame = predictions(pd.read_csv(PUBLISHED)).query("optimizer == 'agn'").set_index(["workers", "window"])
    times: dict[str, dict[tuple[int, int], float]] = frame[["published_s", "predicted_s"]].to_dict()  # type: ignore[assignment]
    parts = []
    for window in (10, 20, 40):
        for workers in (10, 20):
            ratio = {kind: cells[workers, window] / cells[2 * workers, window] for kind, cells in times.items()}
            words = f"window {window}, {workers} to {2 * workers} workers: time shrinks by {ratio['predicted_s']:.2f}"
            words += f" (published {ratio['published_s']:.2f})"
            parts.append(Part(words, within(exact(ratio["predicted_s"]), 1.6, 2.4)))
    late = times["predicted_s"][30, 40] / times["predicted_s"][40, 40]
    parts.append(Part(f"window 40, 30 to 40 workers: {late:.2f} (ideal 1.33)", below(exact(late), 1.2)))
    reached = []
    for workers in WORKERS:
        found = runs.pick("grid", optimizer="agn", workers=workers, window=20)
        needed = median_interval([to_target(accuracy(run), TARGET) for run in found])
        reached.append(f"{show(needed, 0)} s ({workers})")
    return claim("D12", parts, target=TARGET, reached=", ".join(reached))


def _averaging() -> Claim:
    parts, control = [], averaged_beale(10, 1, together=True)
    for window in (1, 100):
        one, ten = averaged_beale(1, window), averaged_beale(10, window)
        gain, beyond = share_difference(ten, one), share_difference(ten, control)
        words = f"window {window}: share that ends in the minimum {show(one, 2)} with 1 worker, {show(ten, 2)} with 10"
        parts.append(Part(f"{words}; more by {show(gain, 2)}", above(gain, 0)))
        words = f"window {window}: more than one worker that begins in the mean of 10 random points, {show(control, 2)}"
        parts.append(Part(f"{words}; by {show(beyond, 2)}", above(beyond, 0)))
    return claim("D17", parts)


def share_difference(a: Interval, b: Interval) -> Interval:
    """Return the difference of two independent shares with Newcombe's interval, from their Wilson intervals."""
    value = a.value - b.value
    low = value - np.hypot(a.value - a.low, b.high - b.value)
    return Interval(value, float(low), float(value + np.hypot(a.high - a.value, b.value - b.low)))


def factors(run: Run) -> Array:
    """Return the mean scale factor of each commit of an ADAG run."""
    return run.commits["scale_mean"].to_numpy(np.float64)


def _phase(run: Run, first: float, last: float) -> float:
    values = factors(run)
    return float(values[int(first * len(values)) : max(int(last * len(values)), 1)].mean())


def _factors(runs: Runs) -> Claim:
    parts, accuracies = [], []
    for gamma, smallest in zip(GAMMAS, FACTORS, strict=True):
        found = runs.pick("adag", gamma=gamma)
        early = mean_interval([_phase(run, 0.0, 0.05) for run in found])
        late = [_phase(run, 0.8, 1.0) for run in found]
        rise = mean_interval(np.array(late) - [_phase(run, 0.0, 0.05) for run in found])
        words = f"γ = {gamma:.0e}: mean factor {show(early)} in the first 5 % of the commits, rises by {show(rise)}"
        parts.append(Part(words, above(rise, 0.0)))
        low = mean_interval([_phase(run, 0.05, 1.0) for run in found])
        parts.append(
            Part(f"γ = {gamma:.0e}: mean factor after that {show(low)}, at least {smallest}", above(low, smallest))
        )
        accuracies.append(f"{show(mean_interval(final(found)), 3)} (γ = {gamma:.0e})")
    return claim("D18", parts, accuracies=", ".join(accuracies))


def peak(run: Run) -> float:
    """Return how far the center's training loss rises above its lowest value so far, in the first half of a run."""
    rows = run.evals[run.evals["split"] == "train"]
    loss = rows["loss"].to_numpy(np.float64)[: max(2, len(rows) // 2)]
    return float((loss - np.minimum.accumulate(loss)).max())


def _peak(runs: Runs) -> Claim:
    parts = []
    for window in (10, 15):
        heights = {
            name: [peak(run) for run in runs.pick("spike", optimizer=name, window=window)] for name in ("agn", "adag")
        }
        agn = mean_interval(heights["agn"])
        parts.append(
            Part(f"window {window}: AGN's loss rises by {show(agn)} (claimed: more than 0.1)", above(agn, 0.1))
        )
        count = min(map(len, heights.values()))
        left = mean_interval(np.array(heights["adag"][:count]) - 0.5 * np.array(heights["agn"][:count]))
        adag = show(mean_interval(heights["adag"]))
        parts.append(Part(f"window {window}: ADAG's by {adag} (claimed: less than half of AGN's)", below(left, 0.0)))
    return claim("D19", parts)


def aim(run: Run) -> tuple[float, float]:
    """Return the cosine between the first commit and the direction to the minimum, and the commit's length."""
    points = run.evals.drop_duplicates("update")[["x0", "x1"]].to_numpy(np.float64)
    move = points[1] - points[0]
    way = np.array({"booth": (1.0, 3.0), "beale": (3.0, 0.5)}[run.config["model"]["name"]]) - points[0]
    return float(move @ way / (np.linalg.norm(move) * np.linalg.norm(way))), float(np.linalg.norm(move))


def _direction(runs: Runs) -> Claim:
    parts = []
    for name in ("booth", "beale"):
        found = {run.config["optimizer"]["window"]: aim(run) for run in runs.pick("direction", model=name)}
        short, long = found.get(1, (np.nan, np.nan)), found.get(10_000, (np.nan, np.nan))
        words = f"{name}: cosine to the minimum {short[0]:.3f} with window 1, {long[0]:.3f} with 10,000"
        parts.append(Part(words, above(exact(long[0]), max(0.99, short[0]))))
        words = f"{name}: length {short[1]:.2g} with window 1, {long[1]:.2g} with 10,000"
        parts.append(Part(words, below(exact(long[1]), 0.1 * short[1])))
    return claim("D20", parts)
