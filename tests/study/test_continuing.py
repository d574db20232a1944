"""A study whose file has changed since it began: what it may go on with, what it refuses, and what the report shows."""

import json
import shutil
from pathlib import Path

import pytest

from sautomed import errors
from sautomed.study import plan_runs, read_study_file, runner
from sautomed.study.folder import StudyFolder, open_study
from sautomed.study.report.runs import read_study

A = {"label": "A", "preset": "tiny"}
B = {"label": "B", "preset": "tiny", "set": ["train.batch=2"]}


@pytest.fixture
def played(monkeypatch):
    """Instead of carrying runs out: a finished training and a run.json; gives the ids in their order."""
    done = []

    def play(run, study, data, folder, device, listener):
        shutil.rmtree(folder.output(run), ignore_errors=True)
        status = "done" if run.left_out is None else "left_out"
        if run.label.startswith("Failing"):
            status = "failed"
        if status != "left_out":
            folder.training(run).mkdir(parents=True, exist_ok=True)
            (folder.training(run) / "config.json").write_text(run.settings.model_dump_json())
        entry = {
            "id": run.id, "order": run.order, "label": run.label, "model": run.model, "dataset": run.dataset,
            "fold": run.fold, "seed": run.seed, "note": run.note, "setting": run.setting, "status": status,
            "error": None if status == "done" else {"id": "", "text": run.left_out or "a fault"},
            "cases": list(data.folds[run.fold].val),
            "labels": {str(value): name for value, name in data.dataset.labels.items()},
        }  # fmt: skip
        folder.output(run).mkdir(parents=True)
        folder.record(run).write_text(json.dumps(entry))
        done.append(run.id)
        return status

    monkeypatch.setattr(runner, "carry_out", play)
    return done


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
def test_a_file_that_has_grown_goes_on_with_what_is_missing(carry_out, study_file, dataset_folder, played, growth):
    carry_out(study_file(models=[A, B]))
    before = list(played)
    if growth.get("data") == ["blocks", "more"]:
        growth = growth | {"data": [*blocks(dataset_folder), {"name": "more", "folder": str(dataset_folder)}]}
    elif "data" in growth:
        growth = growth | {"data": blocks(dataset_folder, folds=[0, 1])}
    file = study_file(**growth)
    assert list(carry_out(file, resume=True)) == [name for name in ids(file) if name not in before]
    assert len(played) == len(set(played)) == len(ids(file))


def test_the_report_follows_the_newest_file(carry_out, study_file, played, output):
    carry_out(
        study_file(models=[A, B | {"note": "old"}, {"label": "Gone", "preset": "tiny", "set": ["train.steps=7"]}])
    )
    newest = [B | {"note": "new"}, A | {"label": "a"}]
    assert carry_out(study_file(models=newest, title="Newest"), resume=True) == {}
    study = read_study(output)
    assert study.title == "Newest"
    assert [(run.label, run.note, run.order) for run in study.runs] == [("B", "new", 0), ("a", "", 1)]
    assert study.pending == ()
    assert (output / "runs" / "gone__blocks__fold0__seed0" / "run.json").is_file()  # nothing is thrown away


def test_a_row_that_comes_back_is_as_it_was(carry_out, study_file, played, output):
    carry_out(study_file(models=[A, B]))
    carry_out(study_file(models=[A]), resume=True)
    with pytest.raises(errors.TargetExists, match=r"b__blocks__fold0__seed0 is done, with train\.batch 2 \(now 3\)"):
        carry_out(study_file(models=[A, B | {"set": ["train.batch=3"]}]), resume=True)
    assert carry_out(study_file(models=[A, B]), resume=True) == {}
    assert len(read_study(output).runs) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": [A | {"set": ["train.steps=9"]}, B]}, r"a__\w+ is done, with train\.steps 2000 \(now 9\)"),
        ({"common": ["train.learning_rate=0.1"]}, r"train\.learning_rate 0\.001 \(now 0\.1\)"),
        ({"settings": [{"walk": "end_to_end"}]}, r"segment\.walk mid_to_ends \(now end_to_end\)"),
        ({"settings": [{"train_cases": 2}]}, "other settings or training cases"),
        ({"minutes": 3}, "minutes of each training: 2, now 3"),
        ({"clock": "processor"}, "clock that counts them: wall, now processor"),
        ({"convention": "transunet"}, "metric convention: ours, now transunet"),
        ({"tolerance_mm": 1.5}, "tolerance in mm: 2, now 1.5"),
    ],
)  # fmt: skip
def test_what_would_mix_is_refused_with_what_differs(carry_out, study_file, played, output, changes, words):
    carry_out(study_file(models=[A, B], minutes=2))
    before = (output / "study.json").read_text()
    with pytest.raises(errors.TargetExists, match=words):
        carry_out(study_file(**{"models": [A, B], "minutes": 2} | changes), resume=True)
    assert (output / "study.json").read_text() == before
    assert carry_out(study_file(models=[A, B], minutes=2), resume=True) == {}


def test_minutes_are_free_until_a_training_has_begun(carry_out, study_file, played, output):
    later = A | {"left_out": "later"}
    carry_out(study_file(models=[later], minutes=2))
    carry_out(study_file(models=[later], minutes=3), resume=True)
    (run,) = plan_runs(read_study_file(study_file(models=[later], minutes=3)))
    StudyFolder(output).training(run).mkdir(parents=True)  # by a process that was killed
    with pytest.raises(errors.TargetExists, match="minutes of each training: 3, now 4"):
        carry_out(study_file(models=[later], minutes=4), resume=True)


def test_what_a_failed_run_stumbled_over_may_be_mended_in_the_file(carry_out, study_file, played, output):
    failing = {"label": "Failing", "preset": "tiny"}
    with pytest.raises(errors.SomeCasesFailed):
        carry_out(study_file(models=[A, failing]))
    with pytest.raises(errors.SomeCasesFailed):
        carry_out(study_file(models=[A, failing | {"set": ["train.batch=1"]}]), resume=True)
    assert played.count("failing__blocks__fold0__seed0") == 2
    assert played.count("a__blocks__fold0__seed0") == 1


def test_a_system_that_was_left_out_is_run_once_it_no_longer_is(carry_out, study_file, played, record, output):
    carry_out(study_file(models=[A | {"left_out": "no weights"}]))
    carry_out(study_file(models=[A | {"left_out": "no weights yet"}]), resume=True)
    assert record("a__blocks__fold0__seed0")["error"]["text"] == "no weights yet"
    assert carry_out(study_file(models=[A]), resume=True) == {"a__blocks__fold0__seed0": "done"}
    assert carry_out(study_file(models=[A | {"left_out": "too late"}]), resume=True) == {}  # its scores stay


# --- the data ---


def test_a_moved_data_set_is_refused_unless_a_link_stands_for_it(
    carry_out, study_file, dataset_folder, played, tmp_path
):
    place = tmp_path / "here"
    shutil.copytree(dataset_folder, place)
    carry_out(study_file(models=[A], data=blocks(place)))
    moved = place.rename(tmp_path / "there")
    with pytest.raises(errors.TargetExists, match=r"the data set blocks: .*here \(layout auto\), now .*there"):
        carry_out(study_file(models=[A], data=blocks(moved)), resume=True)
    place.symlink_to(moved)
    for same in (place, moved, moved / ".." / "there"):
        assert carry_out(study_file(models=[A], data=blocks(same)), resume=True) == {}


def test_another_layout_is_another_data_set(carry_out, study_file, dataset_folder, played):
    carry_out(study_file(models=[A]))
    with pytest.raises(errors.TargetExists, match=r"layout auto\), now .*layout nnunet-raw"):
        carry_out(study_file(models=[A], data=blocks(dataset_folder, layout="nnunet-raw")), resume=True)


def test_a_folder_that_was_mistyped_at_first_can_be_corrected(carry_out, study_file, dataset_folder, played, tmp_path):
    with pytest.raises(errors.MissingFile):
        carry_out(study_file(models=[A], data=blocks(tmp_path / "mistyped")))
    other = tmp_path / "other"
    shutil.copytree(dataset_folder, other)
    for path in other.rglob("block_5*"):
        path.rename(path.with_name(path.name.replace("5", "9")))
    with pytest.raises(errors.FoldOutOfRange):
        carry_out(study_file(models=[A], data=blocks(other, folds=[8])), resume=True)
    assert list(carry_out(study_file(models=[A]), resume=True)) == ["a__blocks__fold0__seed0"]


def test_folds_and_organs_are_those_of_the_runs_that_are_done(carry_out, study_file, dataset_folder, played, output):
    place = output.parent / "data"
    shutil.copytree(dataset_folder, place)
    file = study_file(models=[A], data=blocks(place))
    carry_out(file)
    splits = output / "splits" / "blocks.json"
    folds = json.loads(splits.read_text())
    splits.write_text(json.dumps(folds[::-1]))
    with pytest.raises(errors.BadSplits, match="other cases than those that a__blocks"):
        carry_out(file, resume=True)
    splits.write_text(json.dumps(folds))
    description = json.loads((place / "dataset.json").read_text())
    description["labels"] = {"background": 0, "dark": 1, "bright": 5}
    (place / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(errors.TargetExists, match="other organs"):
        carry_out(file, resume=True)


# --- a process that began with an older file ---


def test_a_process_with_an_older_file_leaves_alone_what_the_newest_has_otherwise(
    carry_out, study_file, played, monkeypatch, output
):
    """While it works, another process brings a file without B, and with other settings of C."""
    c, play = {"label": "C", "preset": "tiny", "set": ["train.steps=3"]}, runner.carry_out

    def newest_file():
        return study_file(models=[A, c | {"set": ["train.steps=4"]}, {"label": "D", "preset": "tiny"}])

    def carry_out_while_it_changes(run, *rest):
        if not played:
            newest = read_study_file(newest_file())
            open_study(output, newest, plan_runs(newest), resume=True)
        return play(run, *rest)

    monkeypatch.setattr(runner, "carry_out", carry_out_while_it_changes)
    assert list(carry_out(study_file(models=[A, B, c]))) == ["a__blocks__fold0__seed0"]
    carry_out(newest_file(), resume=True)
    assert played == [f"{name}__blocks__fold0__seed0" for name in "acd"]


@pytest.mark.parametrize("content", ["[]", '{"title": "x"}', '{"study": {"data": [{}]}, "runs": []}', "{"])
def test_a_damaged_description_is_refused_by_name(carry_out, study_file, played, output, content):
    carry_out(study_file(models=[A]))
    (output / "study.json").write_text(content)
    with pytest.raises(errors.BadTable, match=r"study\.json"):
        carry_out(study_file(models=[A]), resume=True)


def test_a_damaged_record_is_refused_by_name(carry_out, study_file, played, output):
    carry_out(study_file(models=[A]))
    path = output / "runs" / "a__blocks__fold0__seed0" / "run.json"
    path.write_text("[]")
    with pytest.raises(errors.BadTable, match="run's folder away"):
        carry_out(study_file(models=[A]), resume=True)
    shutil.rmtree(path.parent)
    assert list(carry_out(study_file(models=[A]), resume=True)) == ["a__blocks__fold0__seed0"]


def test_a_study_of_a_version_that_kept_less_goes_on(carry_out, study_file, played, output):
    carry_out(study_file(models=[A]))
    described = json.loads((output / "study.json").read_text())
    del described["earlier"], described["runs"][0]["segment"], described["runs"][0]["note"]
    (output / "study.json").write_text(json.dumps(described))
    assert list(carry_out(study_file(models=[A, B]), resume=True)) == ["b__blocks__fold0__seed0"]
    assert Path(output / "study.json").is_file()
