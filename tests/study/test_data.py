"""The data sets of a study: phantoms, folds and organs."""

import json
import shutil

import pytest

from sautomed import errors

A = {"label": "A", "preset": "tiny"}
LATER = [A | {"left_out": "later"}]


def test_phantoms_are_made_once(run_file, study_file, dataset_folder, output, monkeypatch):
    made = []

    def write(place, count, kind, seed, on_case):
        made.append((place, count, kind, seed))
        shutil.copytree(dataset_folder, place)

    monkeypatch.setattr("sautomed.study.data.write_phantoms", write)
    file = study_file(models=LATER, data=[{"name": "made", "phantom": {"kind": "thorax-ct", "count": 2, "seed": 3}}])
    run_file(file)
    run_file(file, resume=True)
    assert made == [(output / "data" / "made", 2, "thorax-ct", 3)]


def test_missing_training_cases_and_folds_are_refused_before_any_run(run_file, study_file, dataset_folder, output):
    with pytest.raises(errors.UnknownSetting, match="9 training cases, but fold 0 of blocks has 4"):
        run_file(study_file(settings=[{"train_cases": 9}]))
    data = [{"name": "blocks", "folder": str(dataset_folder), "folds": [0, 9]}]
    with pytest.raises(errors.FoldOutOfRange):
        run_file(study_file(data=data), output=output.parent / "other")
    assert not list(output.parent.glob("*/runs"))


def test_other_folds_or_organs_than_those_of_done_runs_are_refused(
    run_file, study_file, dataset_folder, played_runs, output
):
    place = output.parent / "data"
    shutil.copytree(dataset_folder, place)
    file = study_file(models=[A], data=[{"name": "blocks", "folder": str(place)}])
    run_file(file)
    splits = output / "splits" / "blocks.json"
    folds = json.loads(splits.read_text())
    splits.write_text(json.dumps(folds[::-1]))
    with pytest.raises(errors.BadSplits, match="other cases than those that a__blocks"):
        run_file(file, resume=True)
    splits.write_text(json.dumps(folds))
    description = json.loads((place / "dataset.json").read_text())
    description["labels"] = {"background": 0, "dark": 1, "bright": 5}
    (place / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(errors.TargetExists, match="other organs"):
        run_file(file, resume=True)
