"""Configurations: whatever a key is set to, it is a valid configuration or refused by name."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from distopt.config import combine, compose, fingerprint, validate
from distopt.settings import flat
from tests.fuzz.damage import damaged, read_or_refuse

PLAIN: dict[str, Any] = validate(compose(["launcher=sim"]))
KEYS = sorted({*flat(PLAIN), *PLAIN, "cluster.step", "cluster.network.up"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${workers}", "${nope}", "${seed", "???", "..", "\0", "agn", "gamma"])
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3), max_leaves=5
)
WORDS = st.text(alphabet="abwk=.,[]{}()'\"\\$:@~+/|é\n 01-", max_size=20)
FILE = yaml.safe_dump({"name": "agn", "window": 5, "more": [1, {"a": None}]}).encode()


@example(key="diagnostics", value=[[]])
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_of_any_key(key: str, value: Any) -> None:
    config = OmegaConf.create(PLAIN)
    try:
        OmegaConf.update(config, key, value)
    except Exception:  # not ours: OmegaConf refuses to hold it
        return
    valid = read_or_refuse(lambda: validate(config))
    if valid is not None:
        assert fingerprint(valid) == fingerprint(valid)


@given(word=st.builds("{}={}".format, st.sampled_from(KEYS), WORDS) | WORDS)
def test_any_word_on_the_command_line(word: str) -> None:
    runs = read_or_refuse(lambda: combine([word]))
    assert runs is None or len(runs) >= 1


@given(content=damaged(FILE) | st.binary(max_size=60))
def test_any_file_in_a_folder_of_ones_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "optimizer").mkdir(exist_ok=True)
    (tmp_path / "optimizer" / "mine.yaml").write_bytes(content)
    read_or_refuse(lambda: validate(compose(["optimizer=mine"], str(tmp_path))))
