"""Claims D14 to D16: AEASGD's accuracies, its divergence, and the equilibrium of EASGD."""

import numpy as np

from distopt import models
from distopt.metrics.convergence import curve
from distopt.metrics.efficiency import temporal_efficiency
from distopt.metrics.statistics import Interval, geometric_mean_interval, mean_interval, median_interval
from distopt.runs.results import Run
from scripts.thesis.analytic import exchange_radius
from scripts.thesis.verdicts import Claim, Part, Verdict, above, claim, exact, proportion, show, within
from scripts.tools.runs import Array, Runs, final

STEPS = 40_000  # local steps after which the thesis reports the equilibrium


def judge(runs: Runs) -> list[Claim]:
    """Return the claims of this module."""
    return [_validation(runs), _divergence(runs), _equilibrium(runs)]


def _validation(runs: Runs) -> Claim:
    parts, workers = [], []
    for window in (1, 15, 30):
        found = runs.pick("elastic", window=window)
        gap = mean_interval(final(found) - final(found, "train_accuracy"))
        words = f"window {window}, validation less training accuracy, both of the center: {show(gap, 4)}"
        parts.append(Part(words, above(gap, 0.0)))
        own = [run.commits["accuracy"].tail(run.config["workers"]).mean() for run in found]
        workers.append(f"{show(mean_interval(final(found) - np.array(own)), 3)} (window {window})")
    return claim("D14", parts, mixed=", ".join(workers))


def _divergence(runs: Runs) -> Claim:
    parts = []
    for rate, alpha in ((0.01, 0.05), (0.2, 1.0)):
        found = runs.pick("exchange", elastic_learning_rate=rate)
        lost = proportion(sum(run.status == "diverged" for run in found), len(found))
        words = f"Beale, 40 workers, window 1, α = {alpha}, atomic exchange: {show(lost, 2)} of the runs diverge"
        parts.append(Part(words, Verdict.FAILS if found and lost.value == 0 else above(lost, 0.0)))
    for alpha in (1.0, 0.05):
        radii = {sharing: exchange_radius(40, sharing, alpha, gain=0.1) for sharing in (1, 2, 40)}
        words = ", ".join(f"{radius:.2f} ({sharing} sharing)" for sharing, radius in radii.items())
        words = f"linear model, α = {alpha}, spectral radius if several workers pull one center: {words}"
        parts.append(Part(f"{words}; with all 40 above 1", above(exact(radii[40]), 1.0)))
    return claim("D15", parts)


def force_ratio(run: Run) -> tuple[Array, Array]:
    """Return local steps and ‖∇f(x)‖ / (ρ ‖x − c‖), median over workers, at each exchange of a run on Beale.

    The gradient is exact, without the workers' noise; c is the center before the exchange.
    """
    import jax

    loss = models.build({**run.config["model"], "noise": 0.0}, None, None).loss
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: loss({"x": x}, {}, None, None)[0])))
    commits, centers = run.commits, run.evals.drop_duplicates("update").set_index("update")[["x0", "x1"]]
    x = commits[["end_x0", "end_x1"]].to_numpy(np.float32)
    away = np.linalg.norm(x - centers.loc[commits["update"] - 1].to_numpy(), axis=1)
    with np.errstate(divide="ignore"):
        ratios = np.linalg.norm(gradient(x), axis=1) / (run.config["optimizer"]["rho"] * away)
    median = commits.assign(ratio=ratios).groupby("update")["ratio"].median()
    return median.index.to_numpy() * run.config["optimizer"]["window"], median.to_numpy()


def balanced_after(run: Run) -> float:
    """Return the local steps after which the elastic force is first at least the gradient; infinity if never."""
    steps, ratio = force_ratio(run)
    hits = np.flatnonzero(ratio <= 1)
    return float(steps[hits[0]]) if hits.size else float("inf")


def _equilibrium(runs: Runs) -> Claim:
    found = runs.pick("equilibrium")
    steps = median_interval([balanced_after(run) for run in found])
    share = proportion(sum(bool(np.isfinite(balanced_after(run))) for run in found), len(found))
    return claim(
        "D16",
        [
            Part(f"share of runs that reach ‖∇f‖ ≤ ρ‖x − c‖ within 120,000 steps: {show(share, 2)}", above(share, 0.5)),
            Part(
                f"first after {show(steps, 0)} steps (claimed: 20,000 to 80,000)", within(steps, STEPS / 2, STEPS * 2)
            ),
            *_early_end(runs),
        ],
    )


def _early_end(runs: Runs) -> list[Part]:
    """Return whether ending windows where the forces balance speeds up the center, for long and short windows."""
    parts = []
    for window, claimed in ((50, "above 1"), (10, "1")):
        ended, full = (runs.pick("early", window=window, equilibrium=test) for test in ("thesis", "none"))
        pairs = [[curve(run.evals, "loss", "train") for run in pair] for pair in zip(ended, full, strict=True)]
        ratio = geometric_mean_interval([temporal_efficiency(a, b, "lower") for a, b in pairs])
        steps = mean_interval([run.commits["steps"].mean() for run in ended])
        words = f"window {window}, ended early after {show(steps, 1)} steps: E(early, full) over 40,000 steps, by areas"
        verdict = above(ratio, 1.0) if claimed == "above 1" else within(ratio, 0.99, 1.01)
        parts.append(Part(f"{words} under the loss: {show(ratio, 4)} (claimed: {claimed})", verdict))
    return parts


def ratio_band(runs: Runs) -> tuple[Array, Interval]:
    """Return local steps and the ratio of the forces: geometric mean, smallest and largest over seeds, as arrays."""
    curves = [force_ratio(run) for run in runs.pick("equilibrium")]
    logs = np.log(np.stack([ratio for _, ratio in curves]))
    return curves[0][0], Interval(*(np.exp(part) for part in (logs.mean(axis=0), logs.min(axis=0), logs.max(axis=0))))
