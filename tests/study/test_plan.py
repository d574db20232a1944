"""A study file in, runs out; what cannot be meant is refused before any work."""

from pathlib import Path

import pytest

from sautomed import errors
from sautomed.config import preset_names
from sautomed.study import plan_runs, read_study_file

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
MODELS = [{"label": "A", "preset": "tiny"}, {"label": "B", "preset": "tiny", "set": ["train.batch=2"]}]


@pytest.fixture
def plan(study_file):
    return lambda **changes: plan_runs(read_study_file(study_file(**changes)))


def test_runs_are_the_product_of_all_lists(plan, dataset_folder):
    data = [{"name": name, "folder": str(dataset_folder), "folds": [0, 1]} for name in ("one", "two")]
    runs = plan(
        data=data, models=MODELS, settings=[{"name": "few", "train_cases": 2}, {"name": "all"}], seeds=[0, 1, 2]
    )
    assert len(runs) == len({run.id for run in runs}) == 2 * 2 * 2 * 2 * 3
    assert {(run.label, run.setting): run.order for run in runs} == {
        ("A", "few"): 0, ("A", "all"): 1, ("B", "few"): 2, ("B", "all"): 3,
    }  # fmt: skip
    assert runs[0].id == "a__one__few__fold0__seed0"
    assert [run.fold for run in runs[:8]] == [0] * 4 + [1] * 4  # a fold of all systems before the next


def test_the_common_recipe_comes_before_the_systems_own_and_the_settings_last(plan):
    models = [{"label": "A", "preset": "tiny", "set": ["train.batch=2", "train.steps=7"]}, MODELS[0] | {"label": "B"}]
    runs = plan(
        models=models, common=["train.batch=3", "train.steps=5"], settings=[{"name": "x", "set": ["train.steps=9"]}]
    )
    assert [(run.settings.train.batch, run.settings.train.steps) for run in runs] == [(2, 9), (3, 9)]


def test_runs_that_differ_in_the_walk_alone_share_their_training(plan):
    directions = [{"name": "mid", "walk": "mid_to_ends"}, {"name": "end", "walk": "end_to_end"}]
    a_mid, a_end, b_mid, b_end = plan(models=MODELS, settings=directions)
    assert a_mid.training == a_end.training != b_mid.training == b_end.training
    assert (a_mid.settings.segment.walk, a_end.settings.segment.walk) == ("mid_to_ends", "end_to_end")
    assert a_mid.train_settings == a_end.train_settings == a_mid.settings


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [1]},
        {"settings": [{"train_cases": 3}]},
        {"common": ["train.learning_rate=0.01"]},
        {"common": ["data.image_size=256"]},
        {"common": ["model.prompt=false"]},
        {"data": [{"name": "other", "folder": "."}]},
    ],
)
def test_whatever_decides_the_weights_has_a_training_of_its_own(plan, changes):
    assert plan(**changes)[0].training != plan()[0].training


def test_a_left_out_system_keeps_its_reason(plan):
    (run,) = plan(models=[MODELS[0] | {"left_out": "no weights"}])
    assert run.left_out == "no weights"


def test_a_folder_is_meant_from_the_study_file_and_data_rules_over_it(study_file, tmp_path):
    path = study_file(data=[{"name": "a", "folder": "scans"}, {"name": "b", "phantom": {"count": 3}}])
    assert [entry.folder for entry in read_study_file(path).data] == [str(tmp_path / "scans"), None]
    given = read_study_file(path, {"b": Path("elsewhere")})
    assert (given.data[1].folder, given.data[1].phantom) == (str(Path("elsewhere").absolute()), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minuts": 3}, "minuts"),
        ({"data": []}, "data"),
        ({"models": [{"label": "A"}]}, "preset"),
        ({"models": [{"label": "A", "preset": "nothing"}]}, "nothing"),
        ({"models": [MODELS[0] | {"set": ["train.bach=4"]}]}, "train.bach"),
        ({"models": [MODELS[0], MODELS[0]]}, "'A' twice in models"),
        ({"models": [MODELS[0], MODELS[0] | {"label": "a"}]}, "a__blocks__fold0__seed0"),
        ({"data": [{"name": "a"}]}, "--data a=FOLDER"),
        ({"data": [{"name": "../a", "folder": "."}]}, "data.0.name"),
        ({"settings": [{"walk": "sideways"}]}, "walk"),
    ],
)
def test_what_cannot_be_meant_is_refused(plan, changes, words):
    with pytest.raises(errors.UnknownSetting, match=words):
        plan(**changes)


def test_an_unknown_convention_and_an_unknown_data_set_are_refused(plan, study_file):
    with pytest.raises(errors.UsageError, match="theirs"):
        plan(convention="theirs")
    with pytest.raises(errors.UnknownSetting, match="names other"):
        read_study_file(study_file(), {"other": Path()})


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_can_be_planned(path):
    folders = {name: Path() for name in ("btcv", "chaos", "segthor") if f"name: {name}" in path.read_text()}
    study = read_study_file(path, folders)
    assert {model.preset for model in study.models} <= {*preset_names()}
    assert plan_runs(study)
