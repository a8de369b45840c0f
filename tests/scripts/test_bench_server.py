"""The benchmark of the server's update: passes are those of the equations, and every optimizer can be measured."""

from pathlib import Path

import pytest

from scripts.bench.server import passes, server_cost
from scripts.bench.tools import make_images
from tests.small import ADAM, blobs, experiment

ELASTIC = {"rho": 5.0, "elastic_learning_rate": 0.03}
GAP_AWARE = {"decay": 0.9, "eps": 1e-9}
DCASGD = {"compensation": 0.04, "adaptive": False, "decay": 0.9, "eps": 1e-7}
WIDE = {"model": {"name": "mlp", "hidden": [256]}, "data": blobs(), "batch_size": 4, "local": ADAM}


@pytest.mark.parametrize(
    ("optimizer", "settings", "expected"),
    [
        ("downpour", {"server": None}, 3),  # center, commit, new center
        ("adag", {"gamma": 1e-4}, 4),  # and what was pulled
        ("aeasgd", ELASTIC, 4),  # and the reply
        ("gap_aware", GAP_AWARE, 6),  # and a mean square, read and written
        ("dcasgd", DCASGD, 8),  # and the moments of Adam, read and written
        ("easgd", ELASTIC, 10),  # four commits and replies
    ],
)
def test_passes_are_counted_from_the_equations(optimizer: str, settings: dict[str, float], expected: int) -> None:
    built = experiment(optimizer, workers=4, settings=settings, **WIDE)
    assert passes(built) == pytest.approx(expected, abs=0.02)


def test_costs_are_measured_beside_downpour(tmp_path: Path) -> None:
    data = make_images(tmp_path / "images.npz", (2, 2), 20)
    lines = server_cost(data, ["downpour", "easgd"], model="logistic", rounds=1, repeats=1)
    assert [line.what.split(", ")[1] for line in lines] == ["downpour", "easgd"]
    assert all(line.value > 0 for line in lines)
    assert lines[1].detail.endswith("4 commits")
