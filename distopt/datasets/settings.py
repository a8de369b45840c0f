"""The settings of each data set, checked before any file is read."""

from collections.abc import Mapping
from typing import Any

from distopt.datasets.partition import BY_LABEL, SCHEMES
from distopt.settings import FLAG, NAMED, TEXT, WORD, Check, list_of, number, one_of, or_null, problem, whole

_SHARDS = ("partition", "alpha", "resident")
_TEXT = ("partition", "resident", "context", "validation_fraction")
_DOWNLOAD = (*_SHARDS, "root", "download", "whiten")
_TABLE = (
    *_SHARDS,
    "file",
    "kind",
    "features",
    "label",
    "index_col",
    "standardize",
    "validation_file",
    "validation_fraction",
    "key",
)
_DOCUMENTS = (*_TABLE, "text", "context")
_CSV = (*_TABLE, "sep", "decimal", "na_values", "keep_default_na")
_PAIRS = ("train_x", "train_y", "validation_x", "validation_y")
_ARRAYS = (*_SHARDS, "file", "kind", *_PAIRS, "validation_fraction", "key", "whiten")
_SPARSE = (*_SHARDS, "file", "kind", "features", "zero_based", "validation_file", "validation_fraction")
_RATINGS = (
    *(*_SHARDS, "file", "kind", "user", "item", "rating", "header", "sep"),
    *("validation_file", "validation_fraction"),
)
KEYS: dict[str, tuple[str, ...]] = {
    "digits": (*_SHARDS, "validation_fraction", "whiten"),
    "mnist": _DOWNLOAD,
    "fashion_mnist": _DOWNLOAD,
    "cifar10": _DOWNLOAD,
    "npz": _ARRAYS,
    "csv": _CSV,
    "parquet": _DOCUMENTS,
    "svmlight": _SPARSE,
    "ratings": _RATINGS,
    "arrow": _DOCUMENTS,
    "tokens": (*_TEXT, "file", "validation_file", "dtype", "vocabulary"),
    "text": (*_TEXT, "file"),
    "pydoc": _TEXT,
    "austen": (*_TEXT, "root"),
    "object": (
        *_SHARDS,
        "factory",
        "arguments",
        "kind",
        "vocabulary",
        "validation_factory",
        "validation_fraction",
    ),
    "none": (),
}


def check_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return all problems with a data set's settings, one message each, without reading a file."""
    name = settings.get("name")
    if name not in KEYS:
        return [f"dataset.name={name}: unknown data set, choose one of {', '.join(KEYS)}"]
    keys = KEYS[name]
    problems = [
        f"dataset.{key}: unknown key, {name} has {', '.join(keys) or 'no settings'}"
        for key in settings
        if key != "name" and key not in keys
    ]
    if settings.get("partition") in BY_LABEL and "alpha" not in keys:
        problems.append(f"dataset.partition={settings['partition']}: {name} has no labels; {_CHOOSE}")
    for key in keys:
        if key in settings or key in ("file", "factory"):
            rule = _OF.get((name, key), _RULES[key])
            problems += filter(None, [problem(f"dataset.{key}", settings.get(key), rule)])
    return problems + _contradictions(settings)


def _contradictions(settings: Mapping[str, Any]) -> list[str]:
    problems = []
    if (settings.get("validation_x") is None) != (settings.get("validation_y") is None):
        problems.append("dataset.validation_x and dataset.validation_y: name both or neither")
    features, labels = settings.get("features"), label_columns(settings)
    if features and _COLUMNS.accepts(features):
        problems += [f"dataset.label={each}: is also one of dataset.features" for each in labels if each in features]
    if len(labels) > 1 and settings.get("kind") != "labels":
        problems.append(f"dataset.label=[{','.join(labels)}]: several labels need dataset.kind=labels")
    if settings["name"] == "ratings":
        names = rating_columns(settings)
        chosen = [settings.get(name, name) for name in names]
        told = " and ".join([", ".join(f"dataset.{name}" for name in names[:-1]), f"dataset.{names[-1]}"])
        if len(set(chosen)) < len(chosen):
            problems.append(f"{told}: two of them are the same column")
        if settings.get("header") is False and not all(isinstance(place, int) for place in chosen):
            problems.append(f"dataset.header=false: give {told} by position from 0")
    if settings.get("text") is not None:
        problems += _of_documents(settings)
    return problems


def label_columns(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns with labels."""
    label = settings.get("label", "label")
    return list(label) if _COLUMNS.accepts(label) else [label]


def rating_columns(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is read of ratings; to rank items it does not matter how they were rated."""
    return ("user", "item") if settings.get("kind") == "ranking" else ("user", "item", "rating")


def _of_documents(settings: Mapping[str, Any]) -> list[str]:
    """Return what contradicts a column of documents."""
    told = f"dataset.text={settings['text']}"
    problems = [
        f"{told}: documents have no {words}; leave out dataset.{key}"
        for key, words in (("features", "features"), ("key", "key"))
        if settings.get(key) is not None
    ]
    if settings.get("kind", "classes") != "classes":
        problems.append(f"{told}: the next byte is predicted; leave out dataset.kind")
    if settings.get("partition") in BY_LABEL:
        problems.append(f"dataset.partition={settings['partition']}: documents have no labels; {_CHOOSE}")
    if settings.get("context") == 1:
        problems.append(f"dataset.context=1: must be at least 2 with {told}")
    return problems


_CHOOSE = "choose iid, contiguous or shared"
_NEVER = "\"'\r\n.\0"  # as separators
_ARRAY, _COLUMN = TEXT._replace(words="the name of an array"), TEXT._replace(words="the name of a column")
_FILE = TEXT._replace(words="the path of a file")
_PLACE = Check("the name or position of a column", lambda v: TEXT.accepts(v) or whole().accepts(v))
_COLUMNS = list_of(TEXT, "a list of different column names", different=True, least=1)
_FACTORY = TEXT._replace(words="module:factory, or the name of an entry point")
_RULES: dict[str, Check] = {
    "partition": one_of(*SCHEMES),
    "alpha": number(0, above=True)._replace(words="a number above 0"),
    "whiten": or_null(number(0, above=True)),
    "resident": one_of("auto", True, False)._replace(words="auto, true or false"),
    "context": whole(1),
    "dtype": one_of("uint8", "uint16", "uint32"),
    "vocabulary": or_null(whole(2)),
    "kind": one_of("classes", "numbers", "labels"),
    "zero_based": Check("auto, true or false", lambda v: isinstance(v, bool) or v == "auto"),
    "root": or_null(TEXT._replace(words="a folder")),
    "download": FLAG,
    "file": _FILE,
    "train_x": _ARRAY,
    "train_y": _ARRAY,
    "validation_x": or_null(_ARRAY),
    "validation_y": or_null(_ARRAY),
    "validation_fraction": number(0, 1, above=True, below=True)._replace(words="a number between 0 and 1"),
    "validation_file": or_null(_FILE),
    "features": or_null(_COLUMNS)._replace(words="a list of different column names, or null for all numeric columns"),
    "label": Check(
        "the name of a column, or with dataset.kind=labels a list of them",
        lambda v: _COLUMN.accepts(v) or _COLUMNS.accepts(v),
    ),
    "text": or_null(_COLUMN),
    "key": or_null(TEXT._replace(words="the name of a column or an array")),
    "index_col": Check(
        "the name or number of a column, false for none, or null",
        lambda v: v is None or v is False or TEXT.accepts(v) or whole().accepts(v),
    ),
    "user": _PLACE,
    "item": _PLACE,
    "rating": _PLACE,
    "header": FLAG,
    "sep": Check(
        "one character, or tab",
        lambda v: isinstance(v, str) and (v in ("tab", r"\t") or (len(v) == 1 and not v.isalnum() and v not in _NEVER)),
    ),
    "decimal": one_of(".", ","),
    "na_values": or_null(list_of(WORD, "a list of texts"))._replace(words="a list of texts, or null"),
    "keep_default_na": FLAG,
    "standardize": FLAG,
    "factory": _FACTORY,
    "validation_factory": or_null(_FACTORY),
    "arguments": NAMED,
}
_OF: dict[tuple[str, str], Check] = {  # where a key means another thing
    ("object", "kind"): one_of("classes", "numbers", "tokens"),
    ("ratings", "kind"): one_of("ratings", "ranking"),
    ("svmlight", "features"): or_null(whole(1)),
}
