"""How the training samples are divided among the workers."""

import numpy as np

from distopt.errors import DataError

SCHEMES = {
    "iid": "shuffled, then cut into equal parts",
    "label": "sorted by label or key, then cut into equal parts: each worker sees few classes",
    "dirichlet": "each class or key is dealt out in random proportions; the smaller alpha, the more uneven",
    "contiguous": "cut into equal parts as it is: each worker sees a stretch of the text or table",
    "shared": "every worker draws from the whole set",
}
BY_LABEL = ("label", "dirichlet")
# Separates these random numbers from all others of the same seed.
STREAM = 1


def partition(
    samples: int, labels: np.ndarray | None, workers: int, scheme: str, alpha: float, seed: int
) -> list[np.ndarray]:
    """Return one int32 array of sample indices per worker.

    Except for `shared` the shards are disjoint, none is empty, and together they hold every sample exactly once; for
    `iid`, `contiguous` and `label` their sizes differ by at most one. Under `dirichlet` the shares of class c are drawn
    as p_c ~ Dir(alpha, ..., alpha) over the workers (Yurochkin et al., arXiv 1905.12022); a worker without samples gets
    one sample of the largest shard.

    Raises:
        DataError: the scheme is unknown, or there are more workers than samples.
    """
    if scheme not in SCHEMES:
        raise DataError(f"dataset.partition={scheme}: unknown, choose one of {', '.join(SCHEMES)}")
    if scheme == "shared":
        return [np.arange(samples, dtype=np.int32)] * workers
    if workers > samples:
        raise DataError(
            f"workers={workers}: more shards than the {samples} training samples; "
            "take fewer workers or dataset.partition=shared"
        )
    if scheme == "contiguous":
        return np.array_split(np.arange(samples, dtype=np.int32), workers)
    rng = np.random.default_rng([STREAM, seed])
    order = rng.permutation(samples).astype(np.int32)
    if scheme not in BY_LABEL:
        return np.array_split(order, workers)
    if labels is None:
        raise DataError(
            f"dataset.partition={scheme}: the data have no labels; choose iid, contiguous or shared, or set dataset.key"
        )
    if scheme == "label":
        order = order[np.argsort(labels[order], kind="stable")]
        return np.array_split(order, workers)
    return _dirichlet(order, labels[order], workers, alpha, rng)


def _dirichlet(
    order: np.ndarray, labels: np.ndarray, workers: int, alpha: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Divide each class by its own draw of proportions."""
    owner = np.empty(len(order), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        shares = np.cumsum(rng.dirichlet(np.full(workers, alpha)))
        owner[members] = np.searchsorted(shares[:-1], (np.arange(len(members)) + 0.5) / len(members))
    sizes = np.bincount(owner, minlength=workers)
    for empty in np.flatnonzero(sizes == 0):
        largest = int(np.argmax(sizes))
        owner[np.argmax(owner == largest)] = empty
        sizes[largest] -= 1
        sizes[empty] = 1
    return np.split(order[np.argsort(owner, kind="stable")], np.cumsum(sizes)[:-1])
