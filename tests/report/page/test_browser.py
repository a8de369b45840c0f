"""The report in a real browser."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from distopt.report import page as pages
from distopt.report.comparison.compare import compare_runs
from distopt.report.figures.style import color
from distopt.runs.results import load_all
from scripts.tools import folders
from scripts.tools.browser import NAMES, executable, launched, show
from tests.marks import slow

#: in one process: a browser takes seconds to start
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser():
    path = executable()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with launched(path) as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Three optimizers on two worker counts with two seeds, one run that diverged, and one on other data."""
    folder = tmp_path_factory.mktemp("page")
    runs = folders.sweep(folder / "runs", ("agn", "adag", "aeasgd"), workers=(4, 16), seeds=(0, 1))
    cut = folders.evals("dynsgd").head(40)
    folders.write(runs / "broken", settings=folders.config("dynsgd"), facts=folders.info("diverged"), eval_rows=cut)
    folders.write(runs / "other", settings=folders.config("agn", batch_size=64))
    loaded, _ = load_all([runs])
    return pages.write(compare_runs(loaded), [], folder / "report.html")


@pytest.fixture(scope="module")
def opened(browser, file):
    return show(browser, file)


@pytest.fixture
def page(opened):
    """The page as it is at first: opening it anew for each test would take most of the time."""
    shown, wrong = opened
    shown.locator("#group").select_option("0")
    shown.get_by_role("button", name="Show all").click()
    shown.locator("#axes input[value=time]").check()
    yield shown
    assert wrong == []


def traces(page, chart="#chart"):
    """Names of the lines in a chart, without bands."""
    return page.evaluate(f"document.querySelector('{chart}').data.map((each) => each.name).filter((n) => n !== 'band')")


def rows(page, section):
    return page.locator(f"{section} tbody tr:visible").count()


def test_everything_is_shown_at_first(page):
    assert len(traces(page)) == 7  # six configurations and the run that diverged
    assert (rows(page, "#configurations"), rows(page, "#runs")) == (7, 13)
    assert "dynsgd workers=4, seed 0: diverged" in traces(page)
    assert page.locator("#trend .scatterlayer .trace").count() == 4


def test_the_axis_changes_what_the_curves_are_drawn_over(page):
    ends = {"time": 20, "updates": 200, "samples": 64_000, "bytes": 800_000, "epochs": 64}
    for name, end in ends.items():
        page.locator(f"#axes input[value={name}]").check()
        line = page.evaluate("document.querySelector('#chart').data.find((each) => each.name === 'agn workers=4')")
        assert line["x"][-1] == end
        title = page.locator("#chart .xtitle").text_content()
        assert {"time": "virtual time (s)", "epochs": "epochs"}.get(name, title) == title


def test_an_optimizer_can_be_switched_off_and_on(page):
    page.locator("#optimizers input[value=adag]").uncheck()
    assert {name.split()[0] for name in traces(page)} == {"agn", "aeasgd", "dynsgd"}
    assert rows(page, "#configurations") == 5
    assert "adag" not in page.locator("#legend").text_content()
    page.get_by_role("button", name="Show all").click()
    assert len(traces(page)) == 7


def test_chips_have_the_colours_of_their_curves_and_no_two_the_same(browser, tmp_path):
    """Of those in the documentation's picture, in the colour of each one's first configuration."""
    names = ("adag", "aeasgd", "agn", "downpour", "dynsgd")
    loaded, _ = load_all([folders.sweep(tmp_path / "runs", names, workers=(4, 16), seeds=(0, 1))])
    shown, wrong = show(browser, pages.write(compare_runs(loaded), [], tmp_path / "report.html"))
    swatches = "[...document.querySelectorAll('.chip i')].map((each) => getComputedStyle(each).backgroundColor)"
    chips = dict(zip(shown.locator(".chip").all_text_contents(), shown.evaluate(swatches), strict=True))
    lines = "document.querySelector('#chart').data.map((each) => [each.name, each.line.color])"
    curves = dict(shown.evaluate(lines))
    shown.close()
    assert wrong == []
    assert tuple(chips) == names
    assert len(set(chips.values())) == len(names)
    for name, told in chips.items():
        red, green, blue = (int(curves[f"{name} workers=4"][i : i + 2], 16) for i in (1, 3, 5))
        assert told == f"rgb({red}, {green}, {blue})"


def test_filters_narrow_tables_and_curves(page):
    page.locator("[data-facet=workers]").select_option("16")
    assert traces(page) == ["adag workers=16", "aeasgd workers=16", "agn workers=16"]
    page.locator("#search").fill("AGN")
    expect(page.locator("#count")).to_have_text("1 of 7 configurations, 2 of 13 runs")
    assert traces(page) == ["agn workers=16"]
    page.locator("#search").fill("no such row")
    expect(page.locator("#count")).to_have_text("0 of 7 configurations, 0 of 13 runs")
    assert traces(page) == []


def test_the_metric_changes_and_the_target_belongs_to_one(page):
    assert page.locator("#chart .annotation-text").count() == 1
    page.locator("#metric").select_option("train loss")
    assert page.locator("#chart .ytitle").text_content() == "train loss"
    assert page.locator("#chart .annotation-text").count() == 0
    page.locator("#logarithmic").set_checked(False)
    assert page.evaluate("document.querySelector('#chart').layout.yaxis.type") == "linear"


def test_tables_are_sorted_by_value_and_missing_is_last(page):
    heading = page.locator("#configurations th:visible", has_text="time to target")
    first = page.locator("#configurations tbody:visible tr th").first
    heading.get_by_role("button").click()
    assert first.text_content() == "adag workers=4"
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").click()
    assert first.text_content() == "dynsgd workers=4"  # never: infinite


def test_another_problem_is_a_page_of_its_own(page):
    page.locator("#group").select_option("1")
    assert traces(page) == ["agn"]
    assert (rows(page, "#configurations"), rows(page, "#runs")) == (1, 1)
    assert page.locator("#trends").is_hidden()
    assert "batch size 64" in page.locator("#answers").inner_text()


def test_details_of_a_run_link_to_its_files(page, file):
    page.locator("#runs button[data-run]").first.click()
    dialog = page.locator("#details")
    assert "optimizer.name" in dialog.inner_text()
    link = dialog.get_by_role("link", name="config.yaml").get_attribute("href")
    assert (file.parent / link).read_text().startswith("batch_size: 32")
    page.keyboard.press("Escape")
    assert dialog.is_hidden()


@pytest.mark.parametrize("settings", [{}, slow({"color_scheme": "dark"}), {"viewport": {"width": 390, "height": 844}}])
def test_it_looks_like_a_chart_at_every_width(browser, file, settings):
    shown, wrong = show(browser, file, **settings)
    image = Image.open(io.BytesIO(shown.locator("#chart").screenshot())).convert("RGB")
    wide = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    shown.close()
    assert (wide, wrong) == (0, [])
    pixels = np.asarray(image).reshape(-1, 3)
    background, counts = np.unique(pixels, axis=0, return_counts=True)
    assert counts.max() < 0.97 * len(pixels)  # not blank
    assert (background[counts.argmax()].mean() > 128) == ("color_scheme" not in settings)
    lighter = np.array(color("adag", variant=1, variants=2)) * 255
    assert (np.abs(pixels - lighter).max(axis=1) < 8).sum() > 20  # the second adag lies on the first


def test_names_from_runs_are_text(browser, tmp_path):
    name = "<img src=x onerror=alert(1)>"
    settings = folders.config("agn", note="</script><script>alert(2)</script>") | {"optimizer": {"name": name}}
    folders.write(tmp_path / name, settings=settings)
    folders.write(tmp_path / "plain", settings=folders.config("agn"))
    loaded, _ = load_all([tmp_path])
    shown, wrong = show(browser, pages.write(compare_runs(loaded), [f"{name}: bad"], tmp_path / "report.html"))
    assert shown.locator("img").count() == 0
    assert name in shown.locator("h1").text_content()
    assert shown.evaluate("document.querySelector('#chart').data.length") == 2
    shown.close()
    assert wrong == []
