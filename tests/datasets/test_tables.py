"""What is taken of a table, what is left out, and what a sane person would object to."""

import decimal
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from distopt import datasets
from distopt.config import compose
from distopt.errors import DataError
from distopt.runner import run as runner
from tests.datasets.test_own import load, save

ROWS = 60
CLASSES = [i % 2 for i in range(ROWS)]
NOISE = [(i * 7) % 5 / 2 for i in range(ROWS)]


def csv(folder: Path, text: str, **settings: Any) -> datasets.Dataset:
    (folder / "t.csv").write_text(text)
    return load("csv", file=str(folder / "t.csv"), **settings)


def lines(head: str, *row: str) -> str:
    """A table whose rows repeat, with {i} for their number."""
    return "\n".join([head, *(row[i % len(row)].format(i=i) for i in range(ROWS))]) + "\n"


def parquet(folder: Path, **columns: Any) -> datasets.Dataset:
    pq.write_table(pa.table({"b": NOISE, "label": CLASSES, **columns}), folder / "t.parquet")
    return load("parquet", file=str(folder / "t.parquet"))


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({f"f{i}": np.roll(NOISE, i) for i in range(7)} | {"name": "x", "flat": 1, "label": CLASSES})
    found = load("csv", file=save(frame, tmp_path / "t.csv"))
    assert found.told == (
        f"{tmp_path / 't.csv'}: 60 rows, 8 features: f0, f1, f2, f3, f4 and 3 more; constant: flat; "
        "left out: name (text)",
        "dataset.label=label: 2 classes: 0 (30), 1 (30); 48 samples to train on, 12 to validate on, held out by "
        "dataset.validation_fraction=0.2, the same for every seed",
    )
    assert found.warnings == ()
    some = load("csv", file=save(frame, tmp_path / "t.csv"), features=["f2"], validation_file=str(tmp_path / "t.csv"))
    assert some.told[0].endswith(
        "left out: f0 (not in dataset.features), f1 (not in dataset.features), f3 (not in dataset.features), "
        "f4 (not in dataset.features), f5 (not in dataset.features) and 3 more"
    )
    assert some.told[1].startswith(f"{tmp_path / 't.csv'}: 60 rows; left out: f0 (no feature)")
    assert "60 to validate on, of dataset.validation_file" in some.told[2]


def test_a_run_says_it_once_before_training_and_keeps_it(tmp_path: Path) -> None:
    file = save(pd.DataFrame({"a": NOISE, "label": CLASSES}), tmp_path / "t.csv")
    words = io.StringIO()
    config = compose(
        [
            *("dataset=csv", f"dataset.file={file}", "launcher=sim", "workers=2", "epochs=1", "evaluate.points=1"),
            f"output={tmp_path}",
        ]
    )
    console, said = Console(file=words, width=200), set[str]()
    [run] = runner.run_together([config], console, said=said)
    [_] = runner.run_together([config], console, said=said)
    assert run.info["data"] == list(load("csv", file=file).told)
    assert words.getvalue().count(f"{file}: 60 rows, 1 feature: a\n") == 1
    assert words.getvalue().index("60 rows") < words.getvalue().index("2 workers, window 10")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("decimal128(10, 2)", pa.array([decimal.Decimal(i) / 4 for i in range(ROWS)], pa.decimal128(10, 2))),
        ("bool", pa.array([i % 3 == 0 for i in range(ROWS)])),
        ("dictionary", pa.array(NOISE[::-1]).dictionary_encode()),
        ("float16", pa.array(np.array(NOISE, np.float16))),
    ],
)
def test_every_kind_of_number_in_parquet_is_a_feature(tmp_path: Path, kind: str, values: pa.Array) -> None:
    found = parquet(tmp_path, a=values)
    assert found.shape == (2,), kind
    assert len(np.unique(found.train[0][:, 1])) > 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([f"{i % 2}.{i}" if i != 3 else "?" for i in range(ROWS)], r"column a is all numbers but for '\?'"),
        ([str(i / 8) for i in range(ROWS)], "column a has numbers that are huge or kept as text"),
        ([None if i % 7 == 0 else bool(i % 2) for i in range(ROWS)], "column a is missing or not finite in 9 samples"),
        ([None if i % 7 == 0 else i for i in range(ROWS)], "column a is missing or not finite in 9 samples"),
        ([None if i % 7 == 0 else str(i) for i in range(ROWS)], "column a is all numbers but for missing values"),
    ],
)
def test_columns_of_parquet_are_not_dropped_for_how_they_are_written(tmp_path: Path, values: list, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parquet(tmp_path, a=values)


def test_columns_that_hold_neither_numbers_nor_text_are_named(tmp_path: Path) -> None:
    when = [datetime(2026, 1, 1) + timedelta(days=i) for i in range(ROWS)]
    found = parquet(tmp_path, when=when, raw=[b"x"] * ROWS, many=[[1]] * ROWS, none=pa.nulls(ROWS))
    assert found.shape == (1,)
    assert "left out: when (timestamp[us]), raw (binary), many (list<" in found.told[0]
    assert "none (null)" in found.told[0]
    with pytest.raises(DataError, match=r"dataset.label=when \(timestamp\[us\]\): neither numbers nor text"):
        load("parquet", file=str(tmp_path / "t.parquet"), label="when")


def test_decimals_are_labels(tmp_path: Path) -> None:
    labels = pa.array([decimal.Decimal(value) for value in CLASSES], pa.decimal128(10, 0))
    assert np.bincount(parquet(tmp_path, label=labels).train[1]).tolist() == [24, 24]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_the_row_numbers_of_pandas_are_no_feature(tmp_path: Path, name: str) -> None:
    """Written with the index, as pandas does unless told otherwise; a shuffled table has it, too."""
    frame = pd.DataFrame({"a": NOISE, "label": sorted(CLASSES)}).sample(frac=1, random_state=0)
    file = str(tmp_path / f"t.{name}")
    frame.to_csv(file) if name == "csv" else frame.to_parquet(file)
    found = load(name, file=file)
    assert found.shape == (1,)
    index = "Unnamed: 0" if name == "csv" else "__index_level_0__"
    assert f"left out: {index} (" in found.told[0]
    kept = load(name, file=file, index_col=False)
    assert kept.shape == (2,)
    again = save(pd.read_csv(file), tmp_path / "again.csv") if name == "csv" else file
    assert load(name, file=again).shape == (1,)  # also after it was read and written once more


def test_a_named_column_that_numbers_the_rows_is_told(tmp_path: Path) -> None:
    text = lines("id,a,label", "{i},1.5,0", "{i},2,1")
    found = csv(tmp_path, text)
    assert found.shape == (2,)
    assert [words.split(";")[0] for words in found.warnings] == ["dataset.file: column id numbers the rows"]
    assert csv(tmp_path, text, index_col=False).warnings == ()
    for index in ("id", 0):
        without = csv(tmp_path, text, index_col=index)
        assert (without.shape, without.warnings) == ((1,), ())
        assert "left out: id (dataset.index_col)" in without.told[0]
    with pytest.raises(DataError, match=r"dataset\.index_col=9: no such column"):
        csv(tmp_path, text, index_col=9)


def test_a_feature_that_is_the_label_is_told(tmp_path: Path) -> None:
    found = csv(tmp_path, lines("a,target,label", "1,0,0", "1.5,1,1"))
    assert "column target is the label once more" in found.warnings[0]


def test_columns_without_a_name(tmp_path: Path) -> None:
    found = csv(tmp_path, lines("a,label,", "1,0,", "1.5,1,"))
    assert found.shape == (1,)
    assert "left out: Unnamed: 2 (no name, no values)" in found.told[0]
    with pytest.raises(DataError, match="column 3 has values, but the first line has no name for it"):
        csv(tmp_path, lines("a,label,", "1,0,7", "1.5,1,8"))


def test_a_table_without_a_line_of_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it has 1.5, 0; the first line must name the columns"):
        csv(tmp_path, lines("1.5,0", "2,1", "3,0"))


def test_a_class_of_one_sample_is_trained_on(tmp_path: Path) -> None:
    text = lines("a,label", "1,0", "1.5,0") + "2,1\n"
    for fraction in (0.2, 0.5, 0.9):
        found = csv(tmp_path, text, validation_fraction=fraction)
        assert np.bincount(found.train[1]).tolist() == [found.size - 1, 1]
        assert found.warnings == ("dataset.label=label: no sample to validate on for 1",)
    assert "2 classes: 0 (60), 1 (1)" in found.told[1]


def test_a_class_that_training_never_sees_is_refused(tmp_path: Path) -> None:
    train, validation = tmp_path / "t.csv", tmp_path / "v.csv"
    train.write_text(lines("a,label", "1,owl", "2,cat"))
    validation.write_text(lines("a,label", "1,owl", "2,elk"))
    with pytest.raises(DataError, match="elk is a class of the validation part alone, which training never sees"):
        load("csv", file=str(train), validation_file=str(validation))
    found = load("csv", file=str(validation), validation_file=str(tmp_path / "v.csv"))
    assert found.classes == 2


def test_a_number_to_predict_is_no_class(tmp_path: Path) -> None:
    prices = lines("a,price", *(f"{i % 7},{100_000 + 37 * i}" for i in range(ROWS)))
    with pytest.raises(DataError, match=r"dataset.label=price: 60 different values in 60 samples of .*"):
        csv(tmp_path, prices, label="price")
    coarse = lines("a,price", *(f"{i % 7},{100_000 + 37 * (i % 25)}" for i in range(ROWS)))
    found = csv(tmp_path, coarse, label="price")
    assert "25 classes in 60 samples; is it a number to predict" in found.warnings[0]
    names = lines("a,who", *(f"{i % 7},person {i}" for i in range(ROWS)))
    with pytest.raises(DataError, match="60 different values"):
        csv(tmp_path, names, label="who")
    np.savez(tmp_path / "t.npz", train_x=np.zeros((60, 2)), train_y=np.arange(60))
    with pytest.raises(DataError, match=r"dataset.train_y=train_y: 60 different values in 60 samples"):
        load("npz", file=str(tmp_path / "t.npz"))


@pytest.mark.parametrize("name", ["NA", "None", "null", "n/a"])
def test_a_class_that_pandas_takes_for_missing(tmp_path: Path, name: str) -> None:
    text = lines("a,label", f"1,{name}", "1.5,EU", "2,US")
    with pytest.raises(DataError, match=r"missing in 20 rows of .*set dataset\.keep_default_na=false"):
        csv(tmp_path, text)
    found = csv(tmp_path, text, keep_default_na=False)
    assert found.classes == 3
    assert f"{name} (20)" in found.told[1]
    with pytest.raises(DataError, match="missing in 20 rows"):
        csv(tmp_path, text, keep_default_na=False, na_values=["EU"])


def test_classes_that_differ_only_in_case_or_spaces_are_told(tmp_path: Path) -> None:
    found = csv(tmp_path, lines("a,label", "1,owl", "2,Owl", "3,cat", "3, owl"))
    assert found.classes == 3  # the space after the comma is none of the label
    assert found.warnings == (
        "dataset.label=label: 'Owl', 'owl' differ only in case or spaces, and are classes of their own",
    )


@pytest.mark.parametrize(("sep", "given"), [(";", ";"), ("\t", "tab"), ("\t", r"\t"), ("|", "|")])
def test_other_separators(tmp_path: Path, sep: str, given: str) -> None:
    text = lines("a,b,label", "1,3,0", "2.5,4,1").replace(",", sep)
    told = "tab" if sep == "\t" else f'"{sep}"'
    with pytest.raises(DataError) as caught:
        csv(tmp_path, text)
    assert f"its first line is not separated by ','; set 'dataset.sep={told}'" in str(caught.value)
    assert csv(tmp_path, text, sep=given).shape == (2,)
    with pytest.raises(DataError, match=r"is not separated by .*; set 'dataset\.sep=\",\"'"):
        csv(tmp_path, text.replace(sep, ","), sep=given)


def test_a_comma_as_decimal_sign(tmp_path: Path) -> None:
    text = lines("a;label", "1,5;0", "2,5;1")
    with pytest.raises(DataError, match=r"column a has numbers such as '1,5': set 'dataset\.decimal=\",\"'"):
        csv(tmp_path, text, sep=";")
    found = csv(tmp_path, text, sep=";", decimal=",", standardize=False)
    assert set(found.train[0].ravel().tolist()) == {1.5, 2.5}


def test_truth_values_with_gaps_are_not_dropped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column flag is all numbers but for missing values"):
        csv(tmp_path, lines("a,flag,label", "1,True,0", "2,False,1", "3,,0", "3,True,1"))


def test_numbers_keep_their_precision_until_they_are_standardized(tmp_path: Path) -> None:
    """Seconds since 1970, a second apart: float32 has one value for about a hundred of them."""
    seconds = 1_764_000_000 + np.arange(ROWS) % 30
    frame = pd.DataFrame({"a": seconds, "label": CLASSES})
    found = load("csv", file=save(frame, tmp_path / "t.csv"), validation_file=str(tmp_path / "t.csv"))
    assert found.train[0].dtype == np.float32
    expected = (seconds - seconds.mean()) / seconds.std()
    np.testing.assert_allclose(found.train[0][:, 0], expected, rtol=1e-6)


def test_large_whole_numbers_are_labels_of_their_own(tmp_path: Path) -> None:
    big = 2**53
    frame = pd.DataFrame({"a": NOISE, "label": [big + i % 2 for i in range(ROWS)]})
    for name in ("csv", "parquet"):
        assert load(name, file=save(frame, tmp_path / f"t.{name}")).classes == 2


def test_a_constant_that_is_no_binary_number_becomes_0(tmp_path: Path) -> None:
    train, validation = tmp_path / "t.csv", tmp_path / "v.csv"
    train.write_text(lines("a,b,label", "0.1,1,0", "0.1,2,1"))
    validation.write_text(lines("a,b,label", "0.2,1,0", "0.1,2,1"))
    found = load("csv", file=str(train), validation_file=str(validation))
    assert (found.train[0][:, 0] == 0).all()
    assert np.abs(found.validation[0][:, 0]).max() == pytest.approx(0.1, rel=1e-5)


def test_hashes_as_labels_stay_apart(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": NOISE, "label": np.array([2**64 - 1 - i % 3 for i in range(ROWS)], np.uint64)})
    assert load("parquet", file=save(frame, tmp_path / "t.parquet")).classes == 3


def test_a_quoted_decimal_comma_is_read(tmp_path: Path) -> None:
    text = lines("a,label", '"0,5",0', '"1,25",1')
    with pytest.raises(DataError, match=r"set 'dataset\.decimal="):
        csv(tmp_path, text)
    assert set(csv(tmp_path, text, decimal=",", standardize=False).train[0].ravel().tolist()) == {0.5, 1.25}


@pytest.mark.parametrize(("number", "settings"), [('"125,730"', {}), ("1.234,50", {"sep": ";", "decimal": ","})])
def test_separators_of_thousands_are_refused(tmp_path: Path, number: str, settings: dict[str, Any]) -> None:
    sep = settings.get("sep", ",")
    text = "\n".join([f"a{sep}b{sep}label", *(f"{number}{sep}{i % 5}{sep}{i % 2}" for i in range(ROWS))])
    with pytest.raises(DataError, match="write them without separators of thousands"):
        csv(tmp_path, text, **settings)


def test_problems_of_a_validation_file_name_it(tmp_path: Path) -> None:
    train, validation = tmp_path / "t.csv", tmp_path / "v.csv"
    train.write_text(lines("id,a,label", "{i},1.5,0", "{i},2,1"))
    validation.write_text(lines("a,label", "1.5,0", "2,1"))
    assert load("csv", file=str(train), validation_file=str(validation), index_col="id").shape == (1,)
    validation.write_text(lines("a,,label", "1.5,7,0", "2,8,1"))
    with pytest.raises(DataError, match=r"v\.csv: column 2 has values"):
        load("csv", file=str(train), validation_file=str(validation), index_col="id")


def test_a_parquet_without_numbers_or_text_is_not_empty(tmp_path: Path) -> None:
    pq.write_table(pa.table({"many": [[1.0]] * ROWS}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"no numeric column besides the label label, but many \(list<"):
        load("parquet", file=str(tmp_path / "t.parquet"))
