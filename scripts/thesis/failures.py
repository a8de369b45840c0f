"""Claims D1 to D5 and X1: staleness and its effect on Downpour and DynSGD."""

from collections.abc import Sequence

import numpy as np

from distopt.metrics.statistics import UNKNOWN, Interval, mean_interval, paired_difference
from distopt.runs.results import Run
from scripts.thesis.analytic import distance_to_geometric, staleness
from scripts.thesis.studies import CRITICAL, RATES
from scripts.thesis.verdicts import Claim, Part, above, below, claim, opposite, proportion, show, within
from scripts.tools.runs import Runs, accuracy, final

TRAINED = 0.9  # share of the accuracy that one worker reaches with as many local steps
LAWS = ("deterministic", "gamma", "exponential")
SEEDS = range(5)


def judge(runs: Runs) -> list[Claim]:
    """Return the claims of this module."""
    return [_staleness(), _workers(runs), _windows(runs), _dynsgd(runs), _dynsgd_windows(runs), _gain(runs)]


def trained(runs: Runs, found: Sequence[Run]) -> Interval:
    """Return the share of runs whose final center reaches `TRAINED` times the accuracy of the sequential baseline."""
    baseline = mean_interval(final(runs.pick("baseline"))).value
    if np.isnan(baseline):
        return UNKNOWN
    good = [run.status != "diverged" and a >= TRAINED * baseline for run, a in zip(found, final(found), strict=True)]
    return proportion(sum(good), len(found))


def _trains(runs: Runs, found: Sequence[Run], words: str, *, claimed: bool) -> Part:
    share, verdict = trained(runs, found), above(trained(runs, found), 0.5)
    accuracies = show(mean_interval(final(found)))
    text = f"{words}: {show(share, 2)} of the runs train, final accuracy {accuracies}"
    return Part(text, verdict if claimed else opposite(verdict))


def _staleness() -> Claim:
    parts = []
    for workers in (10, 20, 30, 60):
        shares = [staleness(workers, "gamma", seed) for seed in SEEDS]
        mean = mean_interval([float(s @ np.arange(len(s))) for s in shares])
        words = f"mean staleness of {workers} workers, gamma step times (cv 0.1): {show(mean, 2)}"
        parts.append(Part(words, within(mean, 0.98 * (workers - 1), 1.02 * (workers - 1))))
    for law in LAWS:
        gap = mean_interval([distance_to_geometric(staleness(20, law, seed), 19) for seed in SEEDS])
        words = f"20 workers, {law} step times: distance to the geometric law (Kolmogorov–Smirnov) {show(gap)}"
        parts.append(Part(words, below(gap, 0.05)))
    return claim("D1", parts)


def _workers(runs: Runs) -> Claim:
    parts = []
    for workers in (10, 20):
        found = runs.pick("downpour", workers=workers, window=1)
        parts.append(_trains(runs, found, f"{workers} workers", claimed=workers == 10))
    for workers in (10, 20):
        found = runs.pick("downpour exponential", workers=workers, window=1)
        parts.append(_trains(runs, found, f"{workers} workers, exponential step times", claimed=workers == 10))
    many = trained(runs, runs.pick("downpour", workers=40, window=1))
    return claim("D2", parts, many=show(many, 2))


def _windows(runs: Runs) -> Claim:
    parts = [
        _trains(runs, runs.pick("downpour windows", window=window), f"window {window}", claimed=False)
        for window in (5, 10, 20)
    ]
    return claim("D3", parts)


def _dynsgd(runs: Runs) -> Claim:
    found = runs.pick("dynsgd", window=1)
    return claim(
        "D4",
        [
            _trains(runs, found, "DynSGD, 20 workers", claimed=True),
            _trains(runs, runs.pick("downpour", workers=20, window=1), "Downpour, 20 workers", claimed=False),
        ],
    )


def _dynsgd_windows(runs: Runs) -> Claim:
    base, parts = final(runs.pick("dynsgd", window=1)), []
    for window in (3, 10, 30):
        other = final(runs.pick("dynsgd", window=window))
        count = min(len(base), len(other))
        difference, _ = paired_difference(other[:count], base[:count])
        words = f"window {window} less window 1, final accuracy of paired seeds: {show(difference)}"
        parts.append(Part(words, below(difference, 0.0)))
    dips = mean_interval([_dip(run) for run in runs.pick("dynsgd long")])
    words = f"window 10, the long run: deepest fall of the validation accuracy below its best so far {show(dips)}"
    parts.append(Part(f"{words} (claimed: more than 0.05)", above(dips, 0.05)))
    return claim("D5", parts)


def _dip(run: Run) -> float:
    y = accuracy(run).y
    return float((np.maximum.accumulate(y) - y).max())


def critical_gain(run: Run) -> float:
    """Return the gain before the first whose coordinate grew, in a run on a quadratic whose curvatures are gains."""
    with np.load(run.folder / "model.npz") as model:
        ends = np.abs(model["x"])
    gains = np.array(run.config["model"]["curvatures"])
    grew = np.flatnonzero(~(ends < 1.0))
    return float(gains[grew[0] - 1]) if grew.size and grew[0] > 0 else float("nan")


def highest_rate(runs: Runs, workers: int, law: str, seed: int) -> float:
    """Return the highest learning rate of the grid at which Downpour with SGD workers trains, or NaN."""
    best = float("nan")
    top = np.nanmax(final(runs.pick("learning rate", seed=seed)))
    for rate in RATES:
        found = runs.pick("learning rate", workers=workers, law=law, learning_rate=rate, seed=seed)
        if found and found[0].status != "diverged" and final(found)[0] >= TRAINED * top:
            best = rate
    return best


def _gain(runs: Runs) -> Claim:
    parts = []
    for (law, workers), expected in CRITICAL.items():
        found = mean_interval([critical_gain(run) for run in runs.pick(f"stability {law} {workers}")])
        words = f"quadratic, {workers} workers, {law}: critical gain {show(found, 4)}, expected {expected}"
        parts.append(Part(words, within(found, 0.9 * expected, 1.1 * expected)))
    seeds = sorted({run.seed for run in runs.pick("learning rate")})
    rates = {
        key: np.log2([highest_rate(runs, *key, seed) for seed in seeds])
        for key in [(10, "gamma"), (40, "gamma"), (40, "exponential")]
    }
    for better, worse in (((10, "gamma"), (40, "gamma")), ((40, "exponential"), (40, "gamma"))):
        factor = Interval(*(2**end for end in mean_interval(rates[better] - rates[worse])))
        words = f"MLP with SGD workers: highest learning rate that trains, {_name(better)} over {_name(worse)}"
        parts.append(Part(f"{words}: {show(factor, 2)}", above(factor, 1.0)))
    return claim("X1", parts)


def _name(key: tuple[int, str]) -> str:
    return f"{key[0]} workers ({key[1]})"
