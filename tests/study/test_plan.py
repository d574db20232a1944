"""From a study file to its runs: which there are, with which settings, trainings and names."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sautomed import errors
from sautomed.study import StudyFile, plan_runs, read_study_file

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
def test_runs_with_other_weights_have_trainings_of_their_own(plan, changes):
    assert plan(**changes)[0].training != plan()[0].training


def test_a_left_out_system_keeps_its_reason(plan):
    (run,) = plan(models=[MODELS[0] | {"left_out": "no weights"}])
    assert run.left_out == "no weights"


def test_names_beyond_ascii_are_told_apart(plan):
    labels = ["模型甲", "模型乙", "α = 0.5", "β = 0.5", "Café", "cafe 2"]
    ids = [run.id for run in plan(models=[MODELS[0] | {"label": label} for label in labels])]
    assert len(set(ids)) == len(labels)
    assert all(run_id.isascii() and run_id.islower() for run_id in ids)
    assert ids[4] == "cafe__blocks__fold0__seed0"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=64), min_size=1, max_size=3))
def test_any_label_is_refused_or_names_a_folder_on_every_operating_system(labels):
    """The name of a run, of at most 255 characters, is that of a folder."""
    tree = {"title": "T", "data": [{"name": "d" * 40, "folder": "."}], "settings": [{"name": "s" * 64}]}
    try:
        study = StudyFile.model_validate({**tree, "models": [{"label": text, "preset": "tiny"} for text in labels]})
        ids = [run.id for run in plan_runs(study)]
    except (ValidationError, errors.UnknownSetting):
        return
    assert len({*ids}) == len(labels)
    for run_id in ids:
        assert re.fullmatch(r"[a-z0-9_-]{1,240}", run_id)
