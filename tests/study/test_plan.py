"""A study file in, runs out; what cannot be meant is refused before any work."""

import re
from pathlib import Path

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


# --- names ---


def test_texts_of_a_study_are_one_line_each(plan, study_file):
    models = [{"label": "two\nlines\t", "preset": "tiny", "note": "a\u2028b ", "left_out": "no\r\nweights"}]
    (run,) = plan(models=models, settings=[{"name": "x\ny"}])
    assert (run.label, run.note, run.left_out, run.setting) == ("two lines", "a b", "no weights", "x y")
    assert read_study_file(study_file(title="A\n B")).title == "A B"


@pytest.mark.parametrize("sign", ["\x1b", "\x00", "\x7f", "\x9b"])
@pytest.mark.parametrize("place", ["label", "note", "left_out", "title", "setting"])
def test_control_characters_are_refused(plan, place, sign):
    changes = {"models": [MODELS[0] | {place: f"a{sign}b"}]} if place in ("label", "note", "left_out") else {}
    changes |= {"title": {"title": sign}, "setting": {"settings": [{"name": sign}]}}.get(place, {})
    with pytest.raises(errors.UnknownSetting, match="cannot be printed"):
        plan(**changes)


def test_names_beyond_ascii_are_told_apart(plan):
    labels = ["模型甲", "模型乙", "α = 0.5", "β = 0.5", "Café", "cafe 2"]
    ids = [run.id for run in plan(models=[MODELS[0] | {"label": label} for label in labels])]
    assert len(set(ids)) == len(labels)
    assert all(run_id.isascii() and run_id.islower() for run_id in ids)
    assert ids[4] == "cafe__blocks__fold0__seed0"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=64), min_size=1, max_size=3))
def test_any_name_is_refused_or_a_folder_of_every_system(labels):
    """By the name of a run, of at most 255 letters."""
    tree = {"title": "T", "data": [{"name": "d" * 40, "folder": "."}], "settings": [{"name": "s" * 64}]}
    try:
        study = StudyFile.model_validate({**tree, "models": [{"label": text, "preset": "tiny"} for text in labels]})
        ids = [run.id for run in plan_runs(study)]
    except (ValidationError, errors.UnknownSetting):
        return
    assert len({*ids}) == len(labels)
    for run_id in ids:
        assert re.fullmatch(r"[a-z0-9_-]{1,240}", run_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [-1]},
        {"seeds": [2**32]},
        {"data": [{"name": "a", "folder": ".", "folds": [-1]}]},
        {"models": [MODELS[0] | {"label": " \n "}]},
        {"models": [MODELS[0] | {"label": "x" * 65}]},
        {"models": [MODELS[0] | {"left_out": " "}]},
        {"minutes": float("nan")},
    ],
)
def test_numbers_and_names_without_a_meaning_are_refused(plan, changes):
    with pytest.raises(errors.UnknownSetting):
        plan(**changes)
