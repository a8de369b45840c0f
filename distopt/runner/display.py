"""Shows the progress of a run: a live line in a terminal, elsewhere a plain line every `LOG_EVERY_S` seconds."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from distopt.records import LOSS, Metric, News

LOG_EVERY_S = 10.0
RECENT = 200  # commits that loss, accuracy and staleness are averaged over


class Display:
    """Shows the progress of one run; a context manager."""

    def __init__(
        self,
        console: Console,
        title: str,
        train_samples: int | None,
        updates: int | None,
        metrics: Sequence[Metric] = (LOSS,),
    ) -> None:
        self._console = console
        self._title = title
        self._train_samples = train_samples
        self._updates = updates
        self._metrics = metrics
        self._commits: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._samples = 0
        self._center: dict[str, Any] | None = None
        self._logged = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._render)

    def __enter__(self) -> "Display":
        """Start showing."""
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(self._title, soft_wrap=True, highlight=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the live line."""
        if self._console.is_terminal:
            self._live.stop()

    def update(self, news: News) -> None:
        """Take in what happened."""
        self._commits.extend(news.commits)
        self._samples += sum(row["samples"] for row in news.commits)
        if news.evals:
            self._center = news.evals[-1]
        if not self._console.is_terminal and time.monotonic() - self._logged > LOG_EVERY_S and self._commits:
            self._logged = time.monotonic()
            line = "  ".join(f"{name} {value}" for name, value in self._figures().items())
            self._console.print(line, soft_wrap=True, highlight=False)

    def _figures(self) -> dict[str, str]:
        """Return the current numbers; metrics are of the workers' own batches."""
        last = self._commits[-1]
        seconds = last["time_s"] or float("inf")
        figures = {
            "time": f"{last['time_s']:.1f} s",
            "update": f"{last['update']:,}" + (f"/{self._updates:,}" if self._updates else ""),
            "updates/s": f"{last['update'] / seconds:,.1f}",
            **{each.name: f"{_mean(self._commits, each.name):{each.format}}" for each in reversed(self._metrics)},
            "staleness": f"{_mean(self._commits, 'staleness'):.1f}",
        }
        if self._train_samples:
            figures |= {
                "epochs": f"{self._samples / self._train_samples:.2f}",
                "samples/s": f"{self._samples / seconds:,.0f}",
            }
        if self._center and self._center["update"] > 0:
            first = self._metrics[0]
            figures[f"center {first.name}"] = f"{self._center[first.name]:{first.format}}"
        return figures

    def _render(self) -> Table:
        figures = self._figures() if self._commits else {"": "starting"}
        table = Table(title=self._title, title_justify="left", show_edge=False, expand=False)
        for name in figures:
            table.add_column(name, justify="right")
        table.add_row(*figures.values())
        return table


def _mean(rows: deque[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
