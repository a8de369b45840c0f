"""A real browser for tests of pages: Chromium without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """Return the path of this machine's Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """Start the browser for the time of a block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def show(browser: Browser, file: Path, **settings: Any) -> tuple[Page, list[str]]:
    """Open a page and wait until its charts are drawn; return it and the list that collects its problems.

    A problem is a warning or an error in the console, an exception, or a request for anything but the page itself.
    """
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | settings)
    wrong: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(message.text)

    def watch(request: Request) -> None:
        if not request.url.startswith((file.resolve().as_uri(), "data:", "blob:")):
            wrong.append(request.url)

    page.on("console", listen)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", watch)
    page.goto(file.resolve().as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    return page, wrong
