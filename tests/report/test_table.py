import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from distopt.report.table import FORMATS, render, text

FRAME = pd.DataFrame(
    {
        "configuration": ["a_b 50%", "c|d"],
        "final": [0.98765, np.nan],
        "time_to_target_s": [1.5, np.inf],
        "updates": [1200, 3],
        "bytes_up": [19.2e6, 0.0],
        "server_busy": [0.256, 1.0],
    }
)


def test_csv_has_all_digits():
    rows = list(csv.DictReader(io.StringIO(render(FRAME, "csv"))))
    assert rows[0]["final"] == "0.98765"
    assert (rows[1]["final"], rows[1]["time_to_target_s"]) == ("", "inf")


def test_json_tells_what_is_infinite_from_what_is_missing():
    rows = json.loads(render(FRAME, "json"), parse_constant=pytest.fail)
    assert rows[1]["final"] is None
    assert rows[1]["time_to_target_s"] == "inf"
    assert rows[0]["updates"] == 1200


def test_markdown_has_equal_columns_in_all_lines():
    lines = render(FRAME, "markdown", {"final": "final\naccuracy"}).splitlines()
    assert {line.replace(r"\|", "").count("|") for line in lines} == {7}
    assert lines[0].startswith("| configuration | final accuracy |")


def test_latex_is_escaped():
    lines = render(FRAME, "latex").splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrr}"
    assert lines[4] == r"a\_b 50\% & 0.9877 & 1.500 & 1,200 & 19.2 MB & 26 \% \\"
    assert r"c|d & -- & $\infty$" in lines[5]


def test_terminal_table_keeps_to_the_width_and_repeats_the_first_column():
    wide, narrow = render(FRAME, "table"), render(FRAME, "table", width=40)
    assert max(map(len, narrow.splitlines())) <= 40 < max(map(len, wide.splitlines()))
    assert wide.count("a_b 50%") == 1
    assert narrow.count("a_b 50%") > 1
    for cell in ("0.9877", "19.2 MB", "100 %", "∞"):
        assert cell in wide
        assert cell in narrow


def test_terminal_table_cuts_no_cell():
    assert "…" not in render(FRAME, "table", width=20)


def test_a_value_and_its_interval_share_a_column():
    columns = {"final": [0.98765, 0.5], "final_low": [0.98, np.nan], "final_high": [0.9954, np.nan]}
    columns |= {"time": [12.345, np.inf], "time_low": [9.9, np.nan], "time_high": [np.inf, np.nan]}
    frame = pd.DataFrame({"name": ["a", "b"]} | columns)
    lines = [line.split("|")[2:4] for line in render(frame, "markdown").splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["final", "time"]
    assert cells[2:] == [["0.9877 ± 0.0077", "12.3 [9.90, ∞]"], ["0.5000 ± –", "∞ [–]"]]
    assert render(frame, "csv").splitlines()[0] == "name,final,final_low,final_high,time,time_low,time_high"


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_table_can_be_printed(format):
    assert "configuration" in render(FRAME.head(0), format) or format == "json"


def test_unknown_format():
    with pytest.raises(ValueError, match="markdown"):
        render(FRAME, "xml")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("final", 1.0, "1.000"),
        ("final_std", 0.012345, "0.012"),
        ("samples_per_s", 12345.6, "12,346"),
        ("updates", 12.5, "12"),
        ("bytes_up", 999, "999 B"),
        ("bytes_up", 2.5e12, "2.5 TB"),
        ("worker_wait", 0.5, "50 %"),
        ("te_area", -np.inf, "-∞"),
        ("reference", None, "–"),
        ("success_rate", 0.8, "80 %"),
        ("within_0.05", 1.0, "100 %"),
        ("p_value", 0.0001, "<0.001"),
        ("p_value", 0.0312, "0.031"),
        ("seeds", np.int64(3), "3"),
    ],
)
def test_values_for_readers(column, value, expected):
    assert text(column, value) == expected
