from copy import deepcopy

import pytest
from omegaconf import OmegaConf

from distopt.cluster import Cluster, check_settings
from distopt.config import choices, compose
from distopt.errors import ConfigError


@pytest.fixture(scope="module")
def settings():
    return OmegaConf.to_container(compose().cluster)


@pytest.fixture(scope="module")
def presets():
    return {name: compose([f"cluster={name}"]).cluster for name in choices("cluster")}


def change(settings, key, value):
    changed = deepcopy(settings)
    node = changed
    *path, last = key.split(".")
    for name in path:
        node = node[name]
    node[last] = value
    return changed


@pytest.mark.parametrize("name", choices("cluster"))
def test_presets_build(presets, name):
    group = presets[name]
    assert check_settings(group) == []
    assert Cluster.from_settings(group).name == name


def test_presets_say_how_fast_their_links_are(presets):
    links = {name: Cluster.from_settings(group).up for name, group in presets.items()}
    speeds = [links[name].bytes_per_s for name in ("wan", "ethernet_1g", "ethernet_10g", "infiniband_fdr", "nvlink")]
    assert speeds == sorted(speeds)
    assert links["infiniband_fdr"].bytes_per_s == pytest.approx(56e9 / 8, rel=0.05)
    assert links["ethernet_1g"].split(19_192_040, shared=False) == pytest.approx((0.1641, 0), abs=1e-4)
    assert links["ethernet_1g"].split(19_192_040, shared=True) == pytest.approx((0.0001, 0.1640), abs=1e-4)
    assert links["homogeneous"].split(19_192_040, shared=False) == (0, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step.seconds", 0),
        ("step.seconds", -1.0),
        ("step.seconds", float("nan")),
        ("step.seconds", True),
        ("step.seconds", "fast"),
        ("step.law", "normal"),
        ("step.cv", 0.0),
        ("step.spread", -0.1),
        ("stragglers.chance", 1.5),
        ("stragglers.factor", 0.5),
        ("stragglers.workers", [-1]),
        ("stragglers.workers", "all"),
        ("network.up.latency_s", -1e-3),
        ("network.down.bytes_per_s", 0),
        ("network.shared", 1),
        ("server.seconds", float("inf")),
        ("server.law", "trace"),
        ("server.law", "pareto"),
        ("failures.mean_time_s", 0),
        ("failures.downtime_s", None),
        ("start_s", -1),
    ],
)
def test_impossible_values_are_named(settings, key, value):
    problems = check_settings(change(settings, key, value))
    assert len(problems) == 1
    assert f"cluster.{key.replace('server.law', 'server') if value == 'pareto' else key}" in problems[0]


def test_all_problems_are_reported_together(settings):
    wrong = change(change(settings, "step.seconds", 0), "step.speed", 3)
    del wrong["failures"]["downtime_s"]
    with pytest.raises(ConfigError) as caught:
        Cluster.from_settings(wrong)
    assert [problem.split("=")[0].split(" ")[0] for problem in caught.value.problems] == [
        "cluster.failures.downtime_s",
        "cluster.step.seconds",
        "cluster.step.speed",
    ]


def test_null_means_no_limit(settings):
    cluster = Cluster.from_settings(settings)
    assert cluster.up.bytes_per_s == cluster.failure_s == float("inf")


def test_trace_gives_the_law_its_mean_and_variation(settings, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("worker,step_s\n0,1\n1,3\n0,1\n1,3\n")
    cluster = Cluster.from_settings(change(change(settings, "step.law", "trace"), "step.trace", str(path)))
    assert {worker: times.tolist() for worker, times in cluster.trace.items()} == {0: [1, 1], 1: [3, 3]}
    assert str(cluster.step) == "trace, cv 0.5"


@pytest.mark.parametrize(
    "text",
    [
        "worker,seconds\n0,1\n",
        "worker,step_s\n",
        "worker,step_s\n0,-1\n",
        "worker,step_s\n0,x\n",
        "worker,step_s\n0,\n",
    ],
)
def test_damaged_traces_are_refused(settings, tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"cluster\.step\.trace="):
        Cluster.from_settings(change(change(settings, "step.law", "trace"), "step.trace", str(path)))


def test_a_trace_needs_a_file(settings):
    with pytest.raises(ConfigError, match="no such file"):
        Cluster.from_settings(change(change(settings, "step.law", "trace"), "step.trace", "nowhere.csv"))
    assert "needs cluster.step.trace" in check_settings(change(settings, "step.law", "trace"))[0]
