"""What `make test` promises to cover is not marked slow."""

import pytest

from distopt.config import GROUPS, choices

#: launcher -> tests of it that must be quick; of virtual time both engines
LAUNCHERS = {
    "ray": ("launchers/ray/test_ray.py::test_every_commit_is_applied_once_and_the_budget_is_used_up[adag]",),
    "sim": (
        "launchers/test_checkpoints.py::test_every_checkpoint_leads_to_the_same_end[Single-overrides0]",
        "launchers/test_checkpoints.py::test_every_checkpoint_leads_to_the_same_end[Batched-overrides7]",
    ),
    "replay": ("launchers/test_replay.py::test_the_replay_of_a_run_has_the_same_bits[adag]",),
}
OTHERS = (
    "launchers/ray/test_faults.py::test_a_killed_worker_fails_the_run_and_keeps_its_records[agn]",
    "report/page/test_browser.py::test_everything_is_shown_at_first",
    "test_docs.py::test_the_pages_build_without_a_warning",
    "test_package.py::test_every_module_and_every_configuration_is_in_the_wheel",
)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> set[str]:
    """The quick tests of this session, if it is one of the whole suite."""
    items, root = request.session.items, request.config.rootpath / "tests"
    places = {name.partition("::")[0] for name in (*OTHERS, *sum(LAUNCHERS.values(), ()))}
    if not {root / place for place in places} <= {item.path for item in items}:
        pytest.skip("a part of the tests only")
    chosen = [item for item in items if not item.get_closest_marker("slow")]
    return {f"{item.path.relative_to(root).as_posix()}::{item.name}" for item in chosen}


def test_every_optimizer_is_held_to_the_contract(quick: set[str]) -> None:
    assert {f"optimizers/test_contract.py::test_contract[{name}]" for name in choices("optimizer")} <= quick


def test_every_choice_of_every_group_is_composed(quick: set[str]) -> None:
    test = "config/test_config.py::test_every_file_in_conf_composes_and_is_explained"
    assert {f"{test}[{group}-{name}]" for group in GROUPS for name in choices(group)} <= quick


def test_every_launcher_and_what_surrounds_them_is_tried(quick: set[str]) -> None:
    assert set(LAUNCHERS) == set(choices("launcher"))
    assert {*OTHERS, *sum(LAUNCHERS.values(), ())} <= quick
