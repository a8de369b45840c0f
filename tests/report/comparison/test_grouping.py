from distopt.report.comparison.grouping import caption, group
from distopt.runs.results import load
from scripts.tools import folders


def runs(tmp_path, *settings, **facts):
    return [
        load(folders.write(tmp_path / str(i), settings=each, facts=folders.info(**facts)))
        for i, each in enumerate(settings)
    ]


def labels(found) -> list[list[str]]:
    return [[c.label for c in each.configurations] for each in found]


def test_seeds_of_one_configuration_are_taken_together(tmp_path):
    found = group(runs(tmp_path, *(folders.config("agn", seed=s, name=f"n{s}", output=f"o{s}") for s in (2, 0, 1))))
    ((configuration,),) = [each.configurations for each in found]
    assert [run.seed for run in configuration.runs] == [0, 1, 2]
    assert configuration.label == "agn"


def test_labels_show_only_what_differs_sorted_by_size(tmp_path):
    windows = [{"optimizer": {"name": "agn", "window": window, "gamma": 1.0}} for window in (20, 5, 10)]
    settings = [folders.config() | window for window in windows] + [folders.config("downpour")]
    assert labels(group(runs(tmp_path, *settings))) == [["agn window=5", "agn window=10", "agn window=20", "downpour"]]


def test_settings_of_another_local_optimizer_are_not_a_difference(tmp_path):
    sgd = {"name": "sgd", "learning_rate": 0.1}
    adam = {"name": "adam", "learning_rate": 0.001, "b1": 0.9}
    found = group(runs(tmp_path, folders.config("agn", local=sgd), folders.config("agn", local=adam)))
    assert labels(found) == [["agn local=adam", "agn local=sgd"]]


def test_a_setting_that_is_null_is_as_good_as_absent(tmp_path):
    found = group(runs(tmp_path, folders.config(seed=0), folders.config(seed=1, extra=None)))
    assert labels(found) == [["adag"]]


def test_what_cannot_be_compared_is_kept_apart_and_named(tmp_path):
    settings = [folders.config("agn"), folders.config("adag"), folders.config("agn", batch_size=64)]
    found = group(runs(tmp_path, *settings))
    assert [each.name for each in found] == ["batch_size=32", "batch_size=64"]
    assert labels(found) == [["adag", "agn"], ["agn"]]


def test_clocks_are_kept_apart(tmp_path):
    virtual = runs(tmp_path / "v", folders.config())
    wall = runs(tmp_path / "w", folders.config(), clock="wall")
    assert {each.name for each in group(virtual + wall)} == {"clock=virtual", "clock=wall"}


def test_the_virtual_cluster_does_not_tell_wall_clock_runs_apart(tmp_path):
    settings = [folders.config(seed=s, cluster={"name": name}) for s, name in enumerate(("wan", "nvlink"))]
    assert labels(group(runs(tmp_path / "w", *settings, clock="wall"))) == [["adag"]]
    assert labels(group(runs(tmp_path / "v", *settings))) == [["adag cluster=nvlink", "adag cluster=wan"]]


def test_status_of_several_runs(tmp_path):
    done = runs(tmp_path / "d", folders.config(seed=0), folders.config(seed=1))
    failed = runs(tmp_path / "f", folders.config(seed=2), status="failed")
    (each,) = group(done + failed)
    assert each.configurations[0].status == "done 2, failed 1"
    assert len(each.configurations[0].finished) == 2


def test_caption_tells_what_is_common_and_the_law_of_the_virtual_clock(tmp_path):
    cluster = {"name": "slow", "step": {"law": "gamma", "cv": 0.2}}
    settings = [folders.config(name, workers=9, cluster=cluster) for name in ("agn", "adag")]
    text = caption(runs(tmp_path, *settings))
    for word in ("digits", "mlp", "workers 9", "window 10", "virtual", "slow", "gamma", "cv 0.2", "seed 0"):
        assert word in text
    assert "agn" not in text


def taught(folder, own: bool, settings: str = "0123456789"):
    """Two students; their teachers have their own seeds, or it is one teacher of seed 0."""
    found = []
    for seed in (0, 1):
        by = seed if own else 0
        told = {
            "contents": {"teacher": f"{by}" * 8},
            "teacher": {"optimizer": "ensemble", "seed": by, "settings": settings},
        }
        found += runs(folder / f"{seed}", folders.config(seed=seed, teacher=f"/runs/t{by}"), **told)
    return found


def test_students_of_one_teacher_repeat_each_other_and_so_do_those_of_teachers_of_their_own_seed(tmp_path):
    alone = runs(tmp_path / "alone", folders.config())
    one = taught(tmp_path / "one", own=False)
    assert labels(group(one + alone)) == [["adag teacher=null", "adag teacher=t0@00000000"]]
    own = taught(tmp_path / "own", own=True)
    assert labels(group(own + alone)) == [["adag teacher=ensemble@01234567", "adag teacher=null"]]


def test_students_of_different_teachers_are_kept_apart(tmp_path):
    mixed = taught(tmp_path / "a", own=True) + taught(tmp_path / "b", own=True, settings="9876543210")
    assert labels(group(mixed)) == [["adag teacher=ensemble@01234567", "adag teacher=ensemble@98765432"]]


def test_how_to_learn_from_a_teacher_is_no_difference_without_one(tmp_path):
    cold, hot = ({"temperature": t, "share": 0.5} for t in (1, 9))
    assert labels(
        group(runs(tmp_path, folders.config(distillation=cold), folders.config(seed=1, distillation=hot)))
    ) == [["adag"]]
