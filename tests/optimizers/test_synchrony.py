"""Methods between barrier and free run: stale-synchronous parallel, backup workers, compute groups."""

from typing import Any

import numpy as np
import optax
import pytest

from distopt.optimizers.backup import backup
from distopt.optimizers.downpour import downpour
from distopt.optimizers.omnivore import omnivore
from distopt.optimizers.ssp import ssp
from distopt.optimizers.synchronous import synchronous
from distopt.rules import BARRIER
from tests.optimizers.tools import array, centers, equal, follow, served
from tests.small import UNEVEN

SGD = optax.sgd(0.1)
ROUNDS = [0, 1, 2, 2, 0, 1, 1, 2, 0]


def test_ssp_without_slack_is_a_barrier_with_summed_updates() -> None:
    path, rows = served(ssp(bound=0), array(10), *[(k, 1.0 + k) for k in ROUNDS], workers=3)
    summed, _ = served(downpour()._replace(synchrony=BARRIER), array(10), *[(k, 1.0 + k) for k in ROUNDS], workers=3)
    assert path[2::3] == summed[2::3] == [16, 22, 28]
    assert [row["staleness"] for row in rows] == [0, 1, 2] * 3, "all pulled when the last one of a round was applied"


def test_ssp_without_a_bound_is_downpour() -> None:
    ours, theirs = (
        centers(name, window=2, settings=more) for name, more in (("ssp", {"bound": None}), ("downpour", {}))
    )
    assert np.array_equal(ours, theirs)


def test_who_waits_goes_on_from_the_center_as_it_has_become() -> None:
    """With B = 1 worker 0 waits after its second commit, until worker 1 has made one."""
    moved = centers("ssp", [0, 0, 1, 0], workers=2, settings={"bound": 1})
    gradient = (moved[0] - moved[1]) / 0.01  # exact gradients: a worker's commit tells where it started
    hessian = np.array([[10.0, 8.0], [8.0, 10.0]])
    np.testing.assert_allclose((moved[3] - moved[4]) / 0.01 - gradient, hessian @ (moved[3] - moved[0]), rtol=1e-3)


def test_without_backups_it_is_synchronous() -> None:
    rules = [backup(backups=0, local=SGD, workers=3), synchronous(local=SGD)]
    assert np.array_equal(*[follow(rule, ROUNDS) for rule in rules])
    assert [min(rule.synchrony.quorum, 3) for rule in rules] == [3, 3]


def test_backups_are_averaged_over_those_in_time_and_late_ones_dropped() -> None:
    optimizer = backup(backups=1, local=SGD, workers=3)
    path, rows = served(optimizer, array(10), (0, -10), (1, -30), (2, -1000), (2, -10), (0, -20), workers=3)
    equal(path, 10, 12, 12, 12, 13.5)
    assert [(row["worker"], row["accepted"], row["update"]) for row in rows] == [
        *[(0, 1, 1), (1, 1, 1)],
        (2, 0, 1),
        *[(0, 1, 2), (2, 1, 2)],
    ]
    assert np.isnan(rows[2]["commit_norm"])


def test_as_many_backups_as_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="backups=3 must be less than the number of workers, 3"):
        backup(backups=3, local=SGD, workers=3)


@pytest.mark.parametrize(
    ("groups", "other", "order"), [(1, "synchronous", ROUNDS), (3, "downpour", UNEVEN), (9, "downpour", UNEVEN)]
)
def test_one_group_is_synchronous_and_n_groups_are_downpour(groups: int, other: str, order: list[int]) -> None:
    settings: dict[str, Any] = {"groups": groups, "momentum": 0.0}
    np.testing.assert_allclose(centers("omnivore", order, settings=settings), centers(other, order), rtol=1e-5)


def test_groups_average_inside_and_add_momentum_between_by_hand() -> None:
    optimizer = omnivore(groups=2, momentum=-0.5, local=SGD)
    path, rows = served(optimizer, array(10), (2, -10), (0, -20), (3, -30), (1, -40), workers=4)
    equal(path, 10, 10, 12, 12 + 3 - 0.5 * 2)
    assert [row["staleness"] for row in rows] == [0, 0, 1, 1]
