"""Claims D7 to D11 and D13: AGN against AEASGD over workers × window."""

import numpy as np

from distopt.metrics.statistics import Interval, geometric_mean_interval, mean_interval
from scripts.thesis.verdicts import Claim, Part, above, below, claim, combine, everywhere, show, within
from scripts.tools.runs import Array, Runs, efficiencies, final

WORKERS, WINDOWS = (10, 20, 30, 40), (10, 15, 20, 30, 40)
LAYERS = 4  # dense layers of the thesis's network


def judge(runs: Runs) -> list[Claim]:
    """Return the claims of this module; without a complete grid their verdicts are open."""
    values = {name: surface(runs, name, "train_accuracy") for name in ("agn", "aeasgd")}
    validation = {name: surface(runs, name, "validation_accuracy") for name in ("agn", "aeasgd")}
    ratio = efficiency_surface(runs, "agn", "aeasgd")
    return [
        _wins(ratio, efficiency_surface(runs, "agn", "aeasgd", "above_chance")),
        _losses(ratio),
        _training(values),
        _robustness(values, validation),
        _best_window(ratio, validation["agn"]),
        _flattening(values),
    ]


def surface(runs: Runs, optimizer: str, what: str) -> Array:
    """Return a final metric of the center, shape (seeds, workers, windows)."""
    return _stack([final(found, what) for found in _cells(runs, optimizer)])


def efficiency_surface(runs: Runs, a: str, b: str, integrand: str = "metric") -> Array:
    """Return temporal efficiency E(a, b) by areas under the center's training accuracy, (seeds, workers, windows)."""
    pairs = zip(_cells(runs, a), _cells(runs, b), strict=True)
    return _stack([efficiencies(x, y, integrand) for x, y in pairs])


def _cells(runs: Runs, optimizer: str) -> list[list]:
    return [runs.pick("grid", optimizer=optimizer, workers=n, window=w) for n in WORKERS for w in WINDOWS]


def _stack(cells: list[Array]) -> Array:
    """Return the first seeds that all cells have, as an array of shape (seeds, workers, windows)."""
    seeds = min(map(len, cells))
    return np.stack([cell[:seeds] for cell in cells], axis=1).reshape(seeds, len(WORKERS), len(WINDOWS))


def _by_cell(values: Array) -> Array:
    """Return values of shape (seeds, workers, windows) as one row per cell."""
    return values.reshape(len(values), len(WORKERS) * len(WINDOWS)).T


def _at(values: Array, workers: int, window: int) -> Array:
    return values[:, WORKERS.index(workers), WINDOWS.index(window)]


def _wins(ratio: Array, above_chance: Array) -> Claim:
    share = mean_interval((ratio > 1).mean(axis=(1, 2)), low=0.0, high=1.0)
    size = geometric_mean_interval(np.exp(np.log(ratio).mean(axis=(1, 2))))
    stretched = geometric_mean_interval(np.exp(np.log(above_chance).mean(axis=(1, 2))))
    cells = [geometric_mean_interval(cell) for cell in _by_cell(ratio)]
    clear = sum(interval.low > 1 for interval in cells), sum(interval.high < 1 for interval in cells)
    return claim(
        "D7",
        [
            Part(f"AGN ahead in a share of {show(share, 2)} of {len(cells)} cells: the majority", above(share, 0.5)),
            Part(f"that share is between 0.55 and 0.85: {show(share, 2)}", within(share, 0.55, 0.85)),
            Part(f"geometric mean of E(AGN, AEASGD) over the cells: {show(size)}", above(size, 1.0)),
        ],
        stretched=show(stretched),
        ahead=clear[0],
        behind=clear[1],
    )


def _losses(ratio: Array) -> Claim:
    parts = []
    for workers, window in ((30, 10), (40, 10), (10, 30), (10, 40)):
        interval = geometric_mean_interval(_at(ratio, workers, window))
        words = f"E(AGN, AEASGD) with {workers} workers, window {window}: {show(interval)}"
        parts.append(Part(words, below(interval, 1.0)))
    return claim("D8", parts)


def _training(values: dict[str, Array]) -> Claim:
    difference = values["agn"] - values["aeasgd"]
    cells = [mean_interval(cell) for cell in _by_cell(difference)]
    verdicts = [above(cell, 0.0) for cell in cells]
    ahead = sum(cell.value > 0 for cell in cells)
    clear = sum(cell.low > 0 for cell in cells), sum(cell.high < 0 for cell in cells)
    words = f"final training accuracy of AGN higher in {ahead} of {len(cells)} cells"
    return claim(
        "D9", [Part(f"{words}; clearly higher in {clear[0]}, clearly lower in {clear[1]}", everywhere(verdicts))]
    )


def _robustness(train: dict[str, Array], validation: dict[str, Array]) -> Claim:
    parts = []
    for words, values, ends, claimed in (
        ("AGN training accuracy, 20 less 10 workers: falls by less than 0.01", train["agn"], (10, 20), "stable"),
        ("AGN training accuracy, 40 less 10 workers: falls", train["agn"], (10, 40), "falls"),
        ("AGN validation accuracy, 40 less 10 workers: falls by less than 0.01", validation["agn"], (10, 40), "stable"),
        ("AEASGD validation accuracy, 40 less 10 workers: falls", validation["aeasgd"], (10, 40), "falls"),
    ):
        change = trend(values.mean(axis=2), ends)
        parts.append(
            Part(f"{words}: {show(change)}", above(change, -0.01) if claimed == "stable" else below(change, 0))
        )
    most = trend(validation["agn"].max(axis=2), (10, 40))
    return claim("D10", parts, most=show(most))


def trend(values: Array, ends: tuple[int, int]) -> Interval:
    """Return the change from one number of workers to another over seeds; `values` has the shape (seeds, workers)."""
    return mean_interval(values[:, WORKERS.index(ends[1])] - values[:, WORKERS.index(ends[0])])


def _best_window(ratio: Array, validation: Array) -> Claim:
    parts = []
    for i, workers in enumerate(WORKERS):
        best = np.array(WINDOWS)[ratio[:, i].argmax(axis=1)]
        heuristic, stable = (workers + LAYERS) / 2, (2 * workers - 1) / np.pi
        logs = mean_interval(np.log2(best / heuristic))
        factor = Interval(*(2**end for end in logs))
        words = (
            f"{workers} workers: window with the highest E {_listed(best)} by seed, (n + layers)/2 = {heuristic:.0f}"
        )
        accurate = np.array(WINDOWS)[validation[:, i].argmax(axis=1)]
        words += f", stability bound (2n − 1)/π = {stable:.0f}, most accurate {_listed(accurate)}; best over heuristic"
        parts.append(Part(f"{words} {show(factor, 2)}", within(factor, 0.6, 1.67)))
    return claim("D11", parts)


def _listed(values: Array) -> str:
    return ", ".join(str(int(value)) for value in values)


def _flattening(values: dict[str, Array]) -> Claim:
    own, gap = values["aeasgd"], values["agn"] - values["aeasgd"]
    stable = np.array([[window >= (2 * n - 1) / np.pi for window in WINDOWS] for n in WORKERS])
    ahead = mean_interval(gap[:, stable].mean(axis=1))
    by_workers = mean_interval(slope(own.mean(axis=2), WORKERS))
    by_window = mean_interval(slope(own.mean(axis=1), WINDOWS))
    direction = combine([below(by_workers, 0.0), below(by_window, 0.0)])
    return claim(
        "D13",
        [
            Part(f"AGN less AEASGD, training accuracy where AGN is stable: {show(ahead, 4)}", above(ahead, 0.0)),
            Part(
                f"AEASGD's training accuracy per 10 workers more {show(_ten(by_workers), 4)}, per window longer by 10 "
                f"{show(_ten(by_window), 4)}",
                direction,
            ),
        ],
    )


def slope(values: Array, x: tuple[int, ...]) -> Array:
    """Return the least-squares slope over x for each seed; `values` has the shape (seeds, len(x))."""
    centered = np.array(x) - np.mean(x)
    return values @ centered / (centered @ centered)


def _ten(interval: Interval) -> Interval:
    return Interval(*(10 * number for number in interval))
