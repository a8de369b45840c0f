"""The time to write a report of 500 runs and to draw it in a browser."""

import statistics
import time
from pathlib import Path

from playwright.sync_api import Browser

from distopt.report import page
from distopt.report.comparison.compare import compare_runs
from distopt.runs.results import load_all
from scripts.bench.tools import Line
from scripts.tools import folders
from scripts.tools.browser import executable, launched, show


def report_page(data: Path) -> list[Line]:
    """Measure the size of the page and the seconds from opening it to drawn charts, as the page itself records them."""
    workers, windows = [2**i for i in range(10)], range(1, 11)
    folder = folders.sweep(data.parent / "report", workers=workers, windows=windows)
    began = time.perf_counter()
    file = page.write(compare_runs(load_all([folder])[0]), [], data.parent / "report.html")
    written_s, size = time.perf_counter() - began, file.stat().st_size / 1e6
    lines = [
        Line("page: size with 500 runs", size, "MB", "< 15", "500 configurations"),
        Line("page: load, compare and write, 500 runs", written_s, "s", "", ""),
    ]
    browser = executable()
    if browser is None:
        return lines
    with launched(browser) as started:
        seconds = [_drawn_s(started, file) for _ in range(5)]
    detail = f"median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s, Chromium without a window"
    return [*lines, Line("page: opened to drawn, 500 runs", statistics.median(seconds), "s", "< 3", detail)]


def _drawn_s(browser: Browser, file: Path) -> float:
    shown, wrong = show(browser, file)
    drawn_ms = shown.locator("html").get_attribute("data-drawn")
    shown.close()
    if wrong or drawn_ms is None:
        raise SystemExit(f"{file}: {wrong or 'nothing drawn'}")
    return float(drawn_ms) / 1e3
