"""The study file: how its entries are read, and which values are refused."""

from pathlib import Path

import pytest

from sautomed import errors
from sautomed.study import plan_runs, read_study_file

A = {"label": "A", "preset": "tiny"}


@pytest.fixture
def plan(study_file):
    return lambda **changes: plan_runs(read_study_file(study_file(**changes)))


def test_a_folder_is_relative_to_the_study_file_and_data_replaces_it(study_file, tmp_path):
    path = study_file(data=[{"name": "a", "folder": "scans"}, {"name": "b", "phantom": {"count": 3}}])
    assert [entry.folder for entry in read_study_file(path).data] == [str(tmp_path / "scans"), None]
    given = read_study_file(path, {"b": Path("elsewhere")})
    assert (given.data[1].folder, given.data[1].phantom) == (str(Path("elsewhere").absolute()), None)


def test_texts_of_a_study_are_one_line_each(plan, study_file):
    models = [{"label": "two\nlines\t", "preset": "tiny", "note": "a\u2028b ", "left_out": "no\r\nweights"}]
    (run,) = plan(models=models, settings=[{"name": "x\ny"}])
    assert (run.label, run.note, run.left_out, run.setting) == ("two lines", "a b", "no weights", "x y")
    assert read_study_file(study_file(title="A\n B")).title == "A B"


@pytest.mark.parametrize("sign", ["\x1b", "\x00", "\x7f", "\x9b"])
@pytest.mark.parametrize("place", ["label", "note", "left_out", "title", "setting"])
def test_control_characters_are_refused(plan, place, sign):
    changes = {"models": [A | {place: f"a{sign}b"}]} if place in ("label", "note", "left_out") else {}
    changes |= {"title": {"title": sign}, "setting": {"settings": [{"name": sign}]}}.get(place, {})
    with pytest.raises(errors.UnknownSetting, match="cannot be printed"):
        plan(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [-1]},
        {"seeds": [2**32]},
        {"data": [{"name": "a", "folder": ".", "folds": [-1]}]},
        {"models": [A | {"label": " \n "}]},
        {"models": [A | {"label": "x" * 65}]},
        {"models": [A | {"left_out": " "}]},
        {"minutes": float("nan")},
    ],
)
def test_numbers_out_of_range_and_empty_or_long_names_are_refused(plan, changes):
    with pytest.raises(errors.UnknownSetting):
        plan(**changes)


def test_an_unknown_convention_and_an_unknown_data_set_are_refused(plan, study_file):
    with pytest.raises(errors.UsageError, match="theirs"):
        plan(convention="theirs")
    with pytest.raises(errors.UnknownSetting, match="no data set of the name other"):
        read_study_file(study_file(), {"other": Path()})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minuts": 3}, "minuts"),
        ({"data": []}, "data"),
        ({"models": [{"label": "A"}]}, "preset"),
        ({"models": [{"label": "A", "preset": "nothing"}]}, "nothing"),
        ({"models": [A | {"set": ["train.bach=4"]}]}, "train.bach"),
        ({"models": [A, A]}, "models: .*'A' twice"),
        ({"models": [A, A | {"label": "a"}]}, "a__blocks__fold0__seed0"),
        ({"data": [{"name": "a"}]}, "--data a=FOLDER"),
        ({"data": [{"name": "../a", "folder": "."}]}, "data.0.name"),
        ({"settings": [{"walk": "sideways"}]}, "walk"),
    ],
)
def test_invalid_entries_are_refused_by_name(plan, changes, words):
    with pytest.raises(errors.UnknownSetting, match=words):
        plan(**changes)
