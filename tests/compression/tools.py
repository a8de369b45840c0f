"""Methods of compression with settings that suit small arrays."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.compression import Compressor, build
from distopt.rules import Params

METHODS: dict[str, Compressor] = {
    "bf16": build({"name": "bf16"}),
    "stochastic": build({"name": "bf16", "rounding": "stochastic"}),
    "int8": build({"name": "int8"}),
    "topk": build({"name": "topk", "share": 0.1, "count": None}),
    "sign": build({"name": "sign"}),
    "qsgd": build({"name": "qsgd", "levels": 31, "bucket": 64}),
    "powersgd": build({"name": "powersgd", "rank": 2}),
}
NOTHING = Compressor(lambda z, memory, key: (z, memory), lambda code, like: code)


def random(like: Params, seed: int = 0) -> Params:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), like)


def flat(tree: Params) -> np.ndarray:
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


@partial(jax.jit, static_argnums=0)
def roundtrip(method: Compressor, z: Params, key: Any = 1) -> Params:
    code, _ = method.encode(z, method.init(z, jax.random.key(0)), jax.random.key(key))
    return method.decode(code, z)
