"""One figure per group of claims, in the style of the reports; figures without runs are left out."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from distopt.report.figures.style import COLUMN, STYLE, color, marker
from scripts.thesis import elastic, failures, figures_grid, methods
from scripts.thesis.analytic import averaged_beale, staleness
from scripts.thesis.studies import CRITICAL
from scripts.tools.drawing import errors, panels
from scripts.tools.runs import Runs, final

DPI = 120  # keeps a figure of page width below 150 kB


def draw(runs: Runs, folder: Path) -> list[str]:
    """Draw the figures that have runs as PNG and SVG; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, make in FIGURES.items():
        with matplotlib.rc_context(STYLE):
            figure = make(runs)
            if figure is None:
                continue
            figure.savefig(folder / f"{name}.png", dpi=DPI)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        drawn.append(name)
    return drawn


def _staleness(runs: Runs) -> Figure:
    del runs
    figure, axes = panels(2, height=2.3)
    for workers in (10, 20, 30, 60):
        shares = staleness(workers, "gamma", 0)
        axes[0].plot(shares, label=f"{workers} workers", lw=1)
    for law in failures.LAWS:
        shares = staleness(20, law, 0)
        axes[1].plot(shares[:80], label=law, lw=1)
    p = 1 / 20
    axes[1].plot(p * (1 - p) ** np.arange(80), color="0.4", ls=":", label="geometric")
    axes[0].set(
        xlabel="staleness", ylabel="share of commits", title="gamma step times, cv 0.1", yscale="log", ylim=(1e-4, 1)
    )
    axes[1].set(xlabel="staleness", title="20 workers", yscale="log", ylim=(1e-4, 1.3))
    for ax in axes:
        ax.legend()
    return figure


def _training(runs: Runs) -> Figure | None:
    cases: list[tuple[str, str, dict[str, int]]] = [
        ("Downpour n=10 λ=1", "downpour", {"workers": 10}),
        ("Downpour n=20 λ=1", "downpour", {"workers": 20}),
        ("Downpour n=40 λ=1", "downpour", {"workers": 40}),
        ("… n=10, exponential", "downpour exponential", {"workers": 10}),
        ("… n=20, exponential", "downpour exponential", {"workers": 20}),
        *((f"Downpour n=10 λ={w}", "downpour windows", {"window": w}) for w in (5, 10, 20)),
        *((f"DynSGD n=20 λ={w}", "dynsgd", {"window": w}) for w in (1, 3, 10, 30)),
    ]
    values = [final(runs.pick(study, **settings)) for _, study, settings in cases]
    if not any(len(value) for value in values):
        return None
    figure, axes = panels(1, COLUMN * 1.4, 2.8)
    for row, (value, (_, study, _)) in enumerate(zip(values, cases, strict=True)):
        name = study.split()[0]
        axes[0].plot(value, np.full(len(value), row), marker(name), color=color(name), alpha=0.7, mew=0)
    base = final(runs.pick("baseline"))
    if len(base):
        axes[0].axvline(base.mean(), color="0.4", lw=0.8, label="one worker")
        axes[0].axvline(failures.TRAINED * base.mean(), color="0.4", lw=0.8, ls=":", label="90 % of it: trained")
        axes[0].legend(loc="lower left")
    axes[0].set_yticks(range(len(cases)), [label for label, _, _ in cases])
    axes[0].set(xlabel="final validation accuracy, a point per seed", xlim=(0, 1))
    axes[0].invert_yaxis()
    return figure


def _stability(runs: Runs) -> Figure | None:
    if not runs.pick("stability deterministic 10"):
        return None
    figure, axes = panels(2, height=2.4)
    for i, law in enumerate(failures.LAWS):
        workers = sorted(n for name, n in CRITICAL if name == law)
        found = [np.array([failures.critical_gain(r) for r in runs.pick(f"stability {law} {n}")]) for n in workers]
        mean, half = errors(found)
        axes[0].errorbar(workers, mean, half, fmt="o", color=f"C{i}", label=law, ms=4)
        axes[0].plot(workers, [CRITICAL[law, n] for n in workers], color=f"C{i}", lw=0.8)
    axes[0].set(
        xlabel="workers", ylabel="critical gain", xscale="log", yscale="log", title="quadratic (lines: expected)"
    )
    axes[0].set_xticks([10, 20, 40], ["10", "20", "40"])
    axes[0].minorticks_off()
    axes[0].legend()
    seeds = sorted({run.seed for run in runs.pick("learning rate")})
    for i, law in enumerate(("gamma", "exponential"), start=1):
        for seed in seeds:
            rates = [failures.highest_rate(runs, n, law, seed) for n in (10, 40)]
            axes[1].plot([10, 40], rates, "o-", color=f"C{i}", alpha=0.6, label=law if seed == seeds[0] else None)
    axes[1].set(xlabel="workers", ylabel="highest learning rate that trains", yscale="log", title="MLP, SGD workers")
    axes[1].set_xticks([10, 40])
    if seeds:
        axes[1].legend()
    return figure


def _elastic(runs: Runs) -> Figure | None:
    if not runs.pick("elastic") or not runs.pick("equilibrium"):
        return None
    figure, axes = panels(2, height=2.3)
    for shift, what, label in ((-1, "train_accuracy", "training"), (1, "validation_accuracy", "validation")):
        windows = (1, 15, 30)
        mean, half = errors([final(runs.pick("elastic", window=w), what) for w in windows])
        axes[0].errorbar(np.array(windows) + 0.4 * shift, mean, half, fmt="o", label=f"{label}, center", ms=4)
    axes[0].set(xlabel="window", ylabel="final accuracy", title="AEASGD, 20 workers")
    axes[0].legend()
    steps, ratio = elastic.ratio_band(runs)
    axes[1].fill_between(steps, ratio.low, ratio.high, color=color("easgd"), alpha=0.3, lw=0, label="range over seeds")
    axes[1].plot(steps, ratio.value, color=color("easgd"), lw=1, label="mean")
    axes[1].axhline(1, color="0.4", lw=0.8)
    axes[1].axvline(elastic.STEPS, color="0.4", lw=0.8, ls=":", label="published equilibrium")
    axes[1].set(xlabel="local steps", yscale="log", title="‖∇f(x)‖ / ρ‖x − c‖, EASGD on Beale")
    axes[1].legend()
    return figure


def _averaging(runs: Runs) -> Figure:
    del runs
    figure, axes = panels(1, COLUMN, 2.3)
    workers = (1, 3, 10)
    for label, window, together in (("window 1", 1, False), ("window 100", 100, False), ("control", 1, True)):
        shares = [averaged_beale(n, window, together=together) for n in workers]
        bars = np.array([(s.value - s.low, s.high - s.value) for s in shares]).T
        axes[0].errorbar(workers, [s.value for s in shares], bars, marker="o", label=label, lw=1)
    axes[0].set(xlabel="workers (control: points averaged)", ylabel="share that ends in the minimum", ylim=(0.5, 1))
    axes[0].legend(loc="lower right")
    return figure


def _factors(runs: Runs) -> Figure | None:
    if not runs.pick("adag") or not runs.pick("spike"):
        return None
    figure, axes = panels(3, height=2.3)
    for i, gamma in enumerate(methods.GAMMAS):
        for run in runs.pick("adag", gamma=gamma)[:1]:
            frame = run.commits[["scale_mean", "scale_q05"]].rolling(20, min_periods=1).mean()
            axes[0].plot(run.commits["update"], frame["scale_mean"], color=f"C{i}", lw=1, label=f"γ = {gamma:.0e}")
            axes[0].plot(run.commits["update"], frame["scale_q05"], color=f"C{i}", lw=0.7, ls=":")
    axes[0].set(xlabel="update", ylabel="scale factor", title="mean, and 5 % quantile (dotted)")
    axes[0].legend()
    for ax, window in zip(axes[1:], (10, 15), strict=True):
        for name in ("agn", "adag"):
            for run in runs.pick("spike", optimizer=name, window=window):
                rows = run.evals[run.evals["split"] == "train"]
                ax.plot(rows["update"], rows["loss"], color=color(name), lw=0.7, label=name if run.seed == 0 else None)
        ax.set(xlabel="update", title=f"30 workers, window {window}", ylim=(0, None))
        ax.legend()
    axes[1].set_ylabel("training loss of the center")
    return figure


def _direction(runs: Runs) -> Figure | None:
    if not runs.pick("direction"):
        return None
    figure, axes = panels(2, height=2.2)
    for name in ("booth", "beale"):
        found = sorted((r.config["optimizer"]["window"], *methods.aim(r)) for r in runs.pick("direction", model=name))
        window, cosine, length = np.array(found).T
        axes[0].plot(window, cosine, "o-", label=name)
        axes[1].plot(window, length, "o-", label=name)
    axes[0].set(xlabel="window", ylabel="cosine to the minimum", xscale="log")
    axes[1].set(xlabel="window", ylabel="length of the commit", xscale="log", yscale="log")
    axes[0].legend()
    return figure


FIGURES: dict[str, Callable[[Runs], Figure | None]] = {
    "staleness": _staleness,
    "training": _training,
    "stability": _stability,
    "efficiency": figures_grid.efficiency,
    "accuracy": figures_grid.accuracy,
    "elastic": _elastic,
    "averaging": _averaging,
    "factors": _factors,
    "direction": _direction,
}
