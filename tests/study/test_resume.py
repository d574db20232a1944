"""A study whose file has changed since it began: what is resumed, what is refused, and what the report shows."""

import json
import shutil

import pytest

from sautomed import errors
from sautomed.study import plan_runs, read_study_file
from sautomed.study.folder import StudyFolder
from sautomed.study.report.runs import read_study

A = {"label": "A", "preset": "tiny"}
B = {"label": "B", "preset": "tiny", "set": ["train.batch=2"]}


def ids(file):
    return [run.id for run in plan_runs(read_study_file(file))]


def blocks(folder, **changes):
    return [{"name": "blocks", "folder": str(folder), **changes}]


@pytest.mark.parametrize(
    "growth",
    [
        {"models": [A, B, {"label": "C", "preset": "tiny"}]},
        {"models": [A, B], "seeds": [0, 1]},
        {"models": [A, B], "settings": [{}, {"name": "few", "train_cases": 2}]},
        {"models": [A, B], "data": ["blocks", "more"]},
        {"models": [A, B], "data": [{"folds": [0, 1]}]},
    ],
    ids=["a system", "a seed", "a setting", "a data set", "a fold"],
)
def test_a_file_that_has_grown_goes_on_with_what_is_missing(run_file, study_file, dataset_folder, played_runs, growth):
    run_file(study_file(models=[A, B]))
    before = list(played_runs)
    if growth.get("data") == ["blocks", "more"]:
        growth = growth | {"data": [*blocks(dataset_folder), {"name": "more", "folder": str(dataset_folder)}]}
    elif "data" in growth:
        growth = growth | {"data": blocks(dataset_folder, folds=[0, 1])}
    file = study_file(**growth)
    assert list(run_file(file, resume=True)) == [name for name in ids(file) if name not in before]
    assert len(played_runs) == len(set(played_runs)) == len(ids(file))


def test_the_report_follows_the_newest_file(run_file, study_file, played_runs, output):
    run_file(study_file(models=[A, B | {"note": "old"}, {"label": "Gone", "preset": "tiny", "set": ["train.steps=7"]}]))
    newest = [B | {"note": "new"}, A | {"label": "a"}]
    assert run_file(study_file(models=newest, title="Newest"), resume=True) == {}
    study = read_study(output)
    assert study.title == "Newest"
    assert [(run.label, run.note, run.order) for run in study.runs] == [("B", "new", 0), ("a", "", 1)]
    assert study.pending == ()
    assert (output / "runs" / "gone__blocks__fold0__seed0" / "run.json").is_file()  # nothing is thrown away


def test_a_row_that_comes_back_is_as_it_was(run_file, study_file, played_runs, output):
    run_file(study_file(models=[A, B]))
    run_file(study_file(models=[A]), resume=True)
    with pytest.raises(errors.TargetExists, match=r"b__blocks__fold0__seed0 is done, with train\.batch 2 \(now 3\)"):
        run_file(study_file(models=[A, B | {"set": ["train.batch=3"]}]), resume=True)
    assert run_file(study_file(models=[A, B]), resume=True) == {}
    assert len(read_study(output).runs) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": [A | {"set": ["train.steps=9"]}, B]}, r"a__\w+ is done, with train\.steps 2000 \(now 9\)"),
        ({"common": ["train.learning_rate=0.1"]}, r"train\.learning_rate 0\.003 \(now 0\.1\)"),
        ({"settings": [{"walk": "end_to_end"}]}, r"segment\.walk mid_to_ends \(now end_to_end\)"),
        ({"settings": [{"train_cases": 2}]}, "other settings or training cases"),
        ({"minutes": 3}, "minutes of each training: 2, now 3"),
        ({"clock": "processor"}, "clock that counts them: wall, now processor"),
        ({"convention": "transunet"}, "metric convention: ours, now transunet"),
        ({"tolerance_mm": 1.5}, "tolerance in mm: 2, now 1.5"),
    ],
)  # fmt: skip
def test_a_file_whose_scores_would_mix_is_refused_with_the_differences(
    run_file, study_file, played_runs, output, changes, words
):
    run_file(study_file(models=[A, B], minutes=2))
    before = (output / "study.json").read_text()
    with pytest.raises(errors.TargetExists, match=words):
        run_file(study_file(**{"models": [A, B], "minutes": 2} | changes), resume=True)
    assert (output / "study.json").read_text() == before
    assert run_file(study_file(models=[A, B], minutes=2), resume=True) == {}


def test_minutes_are_free_until_a_training_has_begun(run_file, study_file, played_runs, output):
    later = A | {"left_out": "later"}
    run_file(study_file(models=[later], minutes=2))
    run_file(study_file(models=[later], minutes=3), resume=True)
    (run,) = plan_runs(read_study_file(study_file(models=[later], minutes=3)))
    StudyFolder(output).training(run).mkdir(parents=True)  # by a process that was killed
    with pytest.raises(errors.TargetExists, match="minutes of each training: 3, now 4"):
        run_file(study_file(models=[later], minutes=4), resume=True)


def test_a_failed_run_may_get_other_settings(run_file, study_file, played_runs, output):
    failing = {"label": "Failing", "preset": "tiny"}
    with pytest.raises(errors.SomeCasesFailed):
        run_file(study_file(models=[A, failing]))
    with pytest.raises(errors.SomeCasesFailed):
        run_file(study_file(models=[A, failing | {"set": ["train.batch=1"]}]), resume=True)
    assert played_runs.count("failing__blocks__fold0__seed0") == 2
    assert played_runs.count("a__blocks__fold0__seed0") == 1


def test_a_system_that_was_left_out_is_run_once_it_no_longer_is(run_file, study_file, played_runs, record, output):
    run_file(study_file(models=[A | {"left_out": "no weights"}]))
    run_file(study_file(models=[A | {"left_out": "no weights yet"}]), resume=True)
    assert record("a__blocks__fold0__seed0")["error"]["text"] == "no weights yet"
    assert run_file(study_file(models=[A]), resume=True) == {"a__blocks__fold0__seed0": "done"}
    assert run_file(study_file(models=[A | {"left_out": "too late"}]), resume=True) == {}  # its scores stay


def test_a_study_of_a_version_that_kept_less_goes_on(run_file, study_file, played_runs, output):
    run_file(study_file(models=[A]))
    described = json.loads((output / "study.json").read_text())
    del described["earlier"], described["runs"][0]["segment"], described["runs"][0]["note"]
    (output / "study.json").write_text(json.dumps(described))
    assert list(run_file(study_file(models=[A, B]), resume=True)) == ["b__blocks__fold0__seed0"]


# --- the data ---


def test_a_moved_data_set_is_refused_unless_a_link_stands_for_it(
    run_file, study_file, dataset_folder, played_runs, tmp_path
):
    place = tmp_path / "here"
    shutil.copytree(dataset_folder, place)
    run_file(study_file(models=[A], data=blocks(place)))
    moved = place.rename(tmp_path / "there")
    with pytest.raises(errors.TargetExists, match=r"the data set blocks: .*here \(layout auto\), now .*there"):
        run_file(study_file(models=[A], data=blocks(moved)), resume=True)
    place.symlink_to(moved)
    for same in (place, moved, moved / ".." / "there"):
        assert run_file(study_file(models=[A], data=blocks(same)), resume=True) == {}


def test_another_layout_is_another_data_set(run_file, study_file, dataset_folder, played_runs):
    run_file(study_file(models=[A]))
    with pytest.raises(errors.TargetExists, match=r"layout auto\), now .*layout nnunet-raw"):
        run_file(study_file(models=[A], data=blocks(dataset_folder, layout="nnunet-raw")), resume=True)


def test_a_folder_that_was_mistyped_at_first_can_be_corrected(
    run_file, study_file, dataset_folder, played_runs, tmp_path
):
    with pytest.raises(errors.MissingFile):
        run_file(study_file(models=[A], data=blocks(tmp_path / "mistyped")))
    other = tmp_path / "other"
    shutil.copytree(dataset_folder, other)
    for path in other.rglob("block_5*"):
        path.rename(path.with_name(path.name.replace("5", "9")))
    with pytest.raises(errors.FoldOutOfRange):
        run_file(study_file(models=[A], data=blocks(other, folds=[8])), resume=True)
    assert list(run_file(study_file(models=[A]), resume=True)) == ["a__blocks__fold0__seed0"]
