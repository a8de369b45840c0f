"""Token files of nanoGPT and llm.c, and of documents: what is read, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distopt
from distopt import datasets, models
from distopt.errors import DataError
from distopt.tasks import ratios, tokens
from tests.datasets.test_own import load

SETTINGS = {"context": 4, "validation_fraction": 0.25, "dtype": "uint16"}
TOKENS = np.random.default_rng(0).integers(300, size=100)


def llm_c(tokens: Any, magic: int = 20240520, version: int = 1, count: int | None = None, dtype: str = "<u2") -> bytes:
    """A file as `write_datafile` of llm.c writes it."""
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    return header.tobytes() + np.asarray(tokens, dtype).tobytes()


def read(folder: Path, content: bytes, **settings: Any) -> datasets.Dataset:
    (folder / "t.bin").write_bytes(content)
    return load("tokens", file=str(folder / "t.bin"), **{**SETTINGS, **settings})


@pytest.mark.parametrize(
    ("content", "dtype", "settings"),
    [
        (TOKENS.astype("<u2").tobytes(), "uint16", {}),
        (TOKENS.astype("<u4").tobytes(), "uint32", {"dtype": "uint32"}),
        ((TOKENS % 256).astype("u1").tobytes(), "uint8", {"dtype": "uint8"}),
        (llm_c(TOKENS), "uint16", {}),
        (llm_c(TOKENS, 20240801, 7, dtype="<u4"), "uint32", {"dtype": "uint8"}),
    ],
    ids=["nanoGPT", "uint32", "bytes", "llm.c", "llm.c for Llama"],
)
def test_tokens_are_those_of_the_file(tmp_path: Path, content: bytes, dtype: str, settings: dict[str, Any]) -> None:
    found = read(tmp_path, content, **settings)
    expected = TOKENS % 256 if dtype == "uint8" else TOKENS
    blocks = np.concatenate([found.train[0][:], found.validation[0][:]])
    assert (found.size, len(found.validation[0]), found.shape, found.kind) == (18, 6, (4,), "tokens")
    assert (blocks.dtype, found.classes) == (np.dtype(dtype), expected.max() + 1)
    np.testing.assert_array_equal(blocks[:, 1:].ravel(), expected[1:97])
    assert found.told == (
        f"{tmp_path / 't.bin'}: 100 tokens of {dtype}, 0 to {expected.max()}; 18 blocks of 4 tokens to train on, the "
        "last 6 to validate on",
    )


def test_a_file_to_validate_on(tmp_path: Path) -> None:
    (tmp_path / "v.bin").write_bytes(llm_c([*range(9), 400]))
    found = read(tmp_path, llm_c(TOKENS), validation_file=str(tmp_path / "v.bin"))
    assert (found.size, found.classes) == (24, 401)
    assert found.validation[0][:].tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]
    assert found.told[1] == f"{tmp_path / 'v.bin'}: 10 tokens of uint16, 0 to 400; 2 blocks to validate on"
    with pytest.raises(DataError, match=r"dataset.validation_file=\S+: holds the token 400, beyond a vocab.* of 300"):
        read(tmp_path, llm_c(TOKENS), validation_file=str(tmp_path / "v.bin"), vocabulary=300)
    (tmp_path / "v.bin").write_bytes(llm_c([1, 2, 3, 4]))
    with pytest.raises(DataError, match=r"context=4: \S+v.bin has 4 tokens, too few for a block of 4 tokens$"):
        read(tmp_path, llm_c(TOKENS), validation_file=str(tmp_path / "v.bin"))
    with pytest.raises(DataError, match=r"dataset\.validation_file=nowhere: no such file"):
        read(tmp_path, llm_c(TOKENS), validation_file="nowhere")


def test_a_vocabulary_may_be_larger_than_what_is_there(tmp_path: Path) -> None:
    assert read(tmp_path, llm_c(TOKENS), vocabulary=50257).classes == 50257


@pytest.mark.parametrize(
    ("content", "settings", "told"),
    [
        (b"", {}, "has 0 tokens, too few for a block of 4 tokens to train on and one to validate on"),
        (b"abc", {}, "its 3 bytes are no whole number of tokens of dataset.dtype=uint16"),
        (b"abcdef", {"dtype": "uint32"}, "its 6 bytes are no whole number of tokens of dataset.dtype=uint32"),
        (llm_c(TOKENS)[:-2], {}, "its header announces 100 tokens of uint16 in 1,224 bytes, and it has 1,222"),
        (llm_c(TOKENS) + b"\0", {}, "announces 100 tokens of uint16 in 1,224 bytes, and it has 1,225"),
        (llm_c(TOKENS, count=2**31 - 1), {}, "announces 2,147,483,647 tokens of uint16"),
        (llm_c([], count=-512), {}, "its header announces -512 tokens of uint16 in 0 bytes"),
        (llm_c(TOKENS, version=3), {}, "it has version 3 of the format 20240520 of llm.c, known is 1"),
        (llm_c(TOKENS)[:1000], {}, "it ends within its header"),
        (llm_c(TOKENS), {"vocabulary": 200}, "holds the token 299, beyond a vocabulary of 200; set dataset.vocabulary"),
        (
            np.full(100, 2**31, "<u4").tobytes(),
            {"dtype": "uint32"},
            "holds the token 2147483648, beyond a vocabulary of 2,147,483,647",
        ),
        (llm_c(TOKENS), {"context": 90}, "has 100 tokens, too few for a block of 90 tokens"),
        (llm_c(TOKENS), {"dtype": "int64"}, "dataset.dtype=int64 must be one of uint8, uint16, uint32"),
        (llm_c(TOKENS), {"vocabulary": 0}, "dataset.vocabulary=0 must be a whole number >= 2 or null"),
        (llm_c(TOKENS), {"partition": "dirichlet"}, "tokens has no labels; choose iid, contiguous or shared"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        read(tmp_path, content, **settings)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("vocabulary", "name"), [(256, "bits_per_byte"), (300, "bits_per_token")])
def test_only_bytes_are_told_in_bits_per_byte(vocabulary: int, name: str) -> None:
    settings = {"name": "gpt", "width": 8, "layers": 1, "heads": 1}
    task = models.build(settings, (4,), vocabulary, "tokens")
    assert [metric.name for metric in task.metrics] == [name, "loss", "perplexity"]
    assert tokens.told(task._replace(finish=ratios), 300).metrics == task.metrics  # somebody's own measures
    assert list(task.measured({"loss": (np.log(4.0), 1.0)}, np).values()) == pytest.approx([2, np.log(4), 4])


@pytest.mark.slow
def test_a_model_of_other_tokens_than_bytes_is_told_in_bits_per_token(tmp_path: Path) -> None:
    np.tile(np.arange(8), 200).astype("<u2").tofile(tmp_path / "t.bin")
    overrides = ["launcher=sim", "model=gpt", "model.width=8", "model.heads=1", "model.layers=1", "dataset=tokens"]
    overrides += [f"dataset.file={tmp_path / 't.bin'}", "dataset.context=8", "workers=2", "optimizer=averaging"]
    overrides += ["epochs=4", "batch_size=4", "evaluate.points=2", f"output={tmp_path}", "local.learning_rate=0.03"]
    run = distopt.run(overrides)
    assert [metric["name"] for metric in run.info["metrics"]] == ["bits_per_token", "loss", "perplexity"]
    first, last = run.evals["bits_per_token"].iloc[[0, -1]]
    assert first == pytest.approx(3, abs=0.25)
    assert last < first / 2
    assert run.info["contents"].keys() == {"dataset.file"}
