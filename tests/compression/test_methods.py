"""Each method by itself: what it loses, what it costs, and what it does with zeros and with what is not finite."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from omegaconf import OmegaConf

from distopt import config
from distopt.compression import Compressor, bits, build
from distopt.rules import Params
from distopt.trees import tree_bytes
from tests.compression.tools import METHODS, flat, random, roundtrip

NAMES = sorted(set(config.choices("compression")) - {"none"})
TREE = {"b": jnp.zeros(10), "w": jnp.zeros((20, 10))}  # 210 numbers, 2 arrays


def matrix(values: Any) -> Params:
    return {"w": jnp.asarray(values, jnp.float32)}


@pytest.mark.parametrize("name", NAMES)
def test_yaml_has_the_settings_of_the_factory(name: str) -> None:
    settings: Any = OmegaConf.to_container(config.compose([f"compression={name}"])["compression"])
    module = __import__(f"distopt.compression.{name}", fromlist=[name])
    taken = set(inspect.signature(getattr(module, name)).parameters)
    assert set(settings) == taken | {"name", "error_feedback"}
    assert isinstance(build(settings), Compressor)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("bf16", {}, 2 * 210),
        ("bf16", {"rounding": "stochastic"}, 2 * 210),
        ("int8", {}, 210 + 4 * 2),
        ("topk", {"share": 0.1, "count": None}, 21 * (4 + 2)),
        ("topk", {"share": 0.1, "count": 4}, 4 * (4 + 2)),
        ("topk", {"share": 1e-6, "count": None}, 4 + 2),
        ("sign", {}, 2 + 25 + 4 * 2),
        ("qsgd", {"levels": 7, "bucket": 128}, 210 * 4 // 8 + 4 * 2),
        ("qsgd", {"levels": 1, "bucket": 50}, 53 + 4 * 5),
        ("powersgd", {"rank": 3}, 4 * 3 * (20 + 10) + 4 * 10),
        ("powersgd", {"rank": 7}, 4 * 210),
    ],
)
def test_bytes_are_those_of_the_formula(name: str, settings: dict[str, Any], expected: int) -> None:
    method = build({"name": name, **settings})
    memory, key = method.init(TREE, jax.random.key(0)), jax.random.key(1)
    code, _ = jax.eval_shape(method.encode, TREE, memory, key)
    assert tree_bytes(code) == expected


def test_places_beyond_65536_take_four_bytes() -> None:
    code, _ = jax.eval_shape(METHODS["topk"].encode, {"w": jnp.zeros(65_537)}, (), jax.random.key(0))
    assert code.place.dtype == jnp.uint32


@pytest.mark.parametrize(
    ("name", "settings", "error"),
    [
        ("topk", {"share": 1.0, "count": None}, 0),
        ("topk", {"share": 0.1, "count": 10_000}, 0),
        ("powersgd", {"rank": 10}, 0),
        ("qsgd", {"levels": 32767, "bucket": 16}, 4 * 5 / 32767),
        ("bf16", {}, 5 / 256),
        ("bf16", {"rounding": "stochastic"}, 5 / 128),
        ("int8", {}, 5 / 254),
    ],
)
def test_full_size_or_many_levels_give_back_what_was_put_in(name: str, settings: dict[str, Any], error: float) -> None:
    z = random(TREE)  # none above 5
    assert np.max(np.abs(flat(roundtrip(build({"name": name, **settings}), z)) - flat(z))) <= error


@pytest.mark.parametrize("name", METHODS)
def test_zeros_stay_zeros(name: str) -> None:
    assert not flat(roundtrip(METHODS[name], TREE)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_finite_arrives_as_such(name: str, value: float) -> None:
    z = random(TREE)
    z["w"] = z["w"].at[3, 4].set(value)
    assert not np.isfinite(flat(roundtrip(METHODS[name], z))).all()


def test_top_k_keeps_the_largest_and_nothing_else() -> None:
    method = build({"name": "topk", "share": 0.5, "count": 2})
    np.testing.assert_array_equal(flat(roundtrip(method, matrix([[1, -5, 2], [0.5, 3, -1]]))), [0, -5, 0, 0, 3, 0])


def test_the_sign_is_scaled_by_the_mean_magnitude() -> None:
    y = roundtrip(METHODS["sign"], matrix([[1, -5, 2], [0, 3, -1]]))
    np.testing.assert_allclose(flat(y), [2, -2, 2, 2, 2, -2], rtol=1e-6)


def test_errors_are_within_their_bounds() -> None:
    z = random(TREE)
    error = {name: np.sum((flat(roundtrip(METHODS[name], z)) - flat(z)) ** 2) for name in METHODS}
    square = np.sum(flat(z) ** 2)
    assert error["topk"] <= (1 - 21 / 210) * square
    arrays = [np.asarray(leaf) for leaf in z.values()]
    assert error["sign"] == pytest.approx(square - sum(np.sum(np.abs(a)) ** 2 / a.size for a in arrays), rel=1e-4)
    assert error["bf16"] < error["int8"] < error["qsgd"]


def test_qsgd_is_unbiased_and_errs_as_little_as_its_bound_says() -> None:
    draws, levels, bucket = 5000, 3, 16
    method = build({"name": "qsgd", "levels": levels, "bucket": bucket})
    z = random({"w": jnp.zeros((8, 5))})
    y = jax.jit(jax.vmap(lambda key: roundtrip(method, z, key)["w"].ravel()))(jnp.arange(draws))
    y, exact = np.asarray(y, np.float64), flat(z)
    score = (y.mean(axis=0) - exact) / (y.std(axis=0) / draws**0.5)
    assert np.max(np.abs(score)) < 4.5  # of 40 standard normal scores
    error = np.mean(np.sum((y - exact) ** 2, axis=1))
    assert 0 < error < min(bucket / levels**2, bucket**0.5 / levels) * np.sum(exact**2)


def test_qsgd_draws_by_its_key_alone() -> None:
    z = random(TREE)
    first, again, other = (flat(roundtrip(METHODS["qsgd"], z, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_stochastic_rounding_is_unbiased_and_takes_one_of_the_two_neighbors() -> None:
    draws, method = 5000, METHODS["stochastic"]
    z = random({"w": jnp.zeros((8, 5))})
    y = jax.jit(jax.vmap(lambda key: roundtrip(method, z, key)["w"].ravel()))(jnp.arange(draws))
    y, exact = np.asarray(y, np.float64), flat(z).astype(np.float64)
    score = (y.mean(axis=0) - exact) / (y.std(axis=0) / draws**0.5)
    assert np.max(np.abs(score)) < 4.5  # of 40 standard normal scores
    assert np.all(np.abs(y - exact) < 2.0**-7 * np.abs(exact))
    assert all(len(set(column)) == 2 for column in y.T)
    nearest = flat(roundtrip(METHODS["bf16"], z)).astype(np.float64)
    assert np.max(np.abs(nearest - exact) / (y.std(axis=0) / draws**0.5)) > 20, "the test would not see a bias"


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_what_is_a_bfloat16_already_stays_as_it_is(rounding: str) -> None:
    method, most = build({"name": "bf16", "rounding": rounding}), float(jnp.finfo(jnp.bfloat16).max)
    special = jnp.array([0.0, -0.0, 1.0, -1.5, 2.0**-126, most, -most, np.inf, -np.inf])
    some = random({"w": jnp.zeros(200)})["w"].astype(jnp.bfloat16).astype(jnp.float32)
    for z in (special, some):
        for key in range(5):
            assert flat(roundtrip(method, {"w": z}, key)).tobytes() == np.asarray(z).tobytes()


def test_stochastic_rounding_keeps_every_nan() -> None:
    patterns = jnp.array([0x7FC00000, 0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF], jnp.uint32)
    z = {"w": jax.lax.bitcast_convert_type(patterns, jnp.float32)}
    assert all(np.isnan(flat(roundtrip(METHODS["stochastic"], z, key))).all() for key in range(5))


def test_stochastic_rounding_draws_by_its_key_alone() -> None:
    z = random(TREE)
    first, again, other = (flat(roundtrip(METHODS["stochastic"], z, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("rank", [2, 4])
def test_powersgd_goes_on_after_zeros_as_if_nothing_had_been(rank: int) -> None:
    """The first rows are zero, as of pixels at the border: a Q of zeros would find no way out of them."""
    method, rng = build({"name": "powersgd", "rank": rank}), np.random.default_rng(0)
    commits = [matrix(rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15))) for _ in range(3)]
    commits = [{"w": z["w"].at[:rank].set(0)} for z in commits]
    nothing, encode = matrix(np.zeros((20, 15))), jax.jit(method.encode)
    decoded = {}
    for name, sent in (
        ("fresh", commits),
        ("zeros", [nothing, *commits]),
        ("between", [commits[0], nothing, *commits]),
    ):
        memory = method.init(nothing, jax.random.key(0))
        decoded[name] = []
        for z in sent:
            code, memory = encode(z, memory, jax.random.key(0))
            decoded[name].append(flat(method.decode(code, z)))
    np.testing.assert_array_equal(decoded["zeros"][1:], decoded["fresh"])
    np.testing.assert_allclose(decoded["between"][2:], [flat(z) for z in commits], atol=1e-4)


def test_powersgd_finds_a_matrix_of_low_rank_at_once() -> None:
    rng = np.random.default_rng(0)
    z = matrix(rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15)))
    np.testing.assert_allclose(flat(roundtrip(build({"name": "powersgd", "rank": 2}), z)), flat(z), atol=1e-4)


def test_powersgd_nears_the_best_approximation_from_commit_to_commit() -> None:
    method, z = build({"name": "powersgd", "rank": 2}), random({"w": jnp.zeros((20, 15))})
    memory = method.init(z, jax.random.key(0))
    encode = jax.jit(method.encode)
    for _ in range(200):
        code, memory = encode(z, memory, jax.random.key(0))
    u, s, vt = np.linalg.svd(np.asarray(z["w"]))
    best = u[:, :2] * s[:2] @ vt[:2]
    np.testing.assert_allclose(method.decode(code, z)["w"], best, atol=1e-2)


@pytest.mark.parametrize("width", [1, 3, 8, 16])
def test_packed_numbers_are_unpacked(width: int) -> None:
    numbers = np.random.default_rng(0).integers(2**width, size=37)
    packed = bits.pack(jnp.asarray(numbers), width)
    assert (packed.dtype, packed.size) == (jnp.uint8, -(-37 * width // 8))
    np.testing.assert_array_equal(bits.unpack(packed, width, 37), numbers)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "topk", "share": 0, "count": None}, "share=0 must be"),
        ({"name": "topk", "share": 0.1, "count": 2.5}, "count=2.5 must be a whole number"),
        ({"name": "qsgd", "levels": 2**15, "bucket": 1}, "levels=32768 must be at most 32767"),
        ({"name": "qsgd", "levels": 7}, "bucket"),
        ({"name": "bf16", "rounding": "up"}, "rounding=up must be one of nearest, stochastic"),
        ({"name": "powersgd", "rank": 0}, "rank=0"),
        ({"name": "sign", "rank": 1}, "rank"),
        ({"name": "zip"}, "distopt list compression"),
        ({"name": "exchange"}, "distopt list compression"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build(settings)
