"""The report as one self-contained page: answers, tables, interactive curves and the provenance of every run."""

from collections.abc import Sequence
from pathlib import Path

from distopt.errors import ResultsError
from distopt.report.comparison.compare import Comparison
from distopt.report.page.content import content

HERE = Path(__file__).parent


def write(found: Comparison, problems: Sequence[str], output: Path) -> Path:
    """Write the page of a comparison to `output`, with links relative to its folder; return its path.

    Equal runs give an equal page.

    Raises:
        ResultsError: the file cannot be written.
    """
    if output.is_dir():
        raise ResultsError(f"output={output}: is a folder; give the name of a file in it, such as report.html")
    text = render(found, problems, output.parent)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"output={output}: cannot be written ({error.strerror}); give another --output") from None
    return output


def render(found: Comparison, problems: Sequence[str], folder: Path) -> str:
    """Return the page as HTML that loads nothing else: style, scripts and data are inside.

    All content of runs is escaped, in the text by the template and in the data as JSON without `<`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    style, charts, script = (
        Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "charts.js", "page.js")
    )
    return environment.get_template("page.html").render(
        content(found, problems, folder), style=style, script=charts + script, plotly=Markup(get_plotlyjs())
    )
