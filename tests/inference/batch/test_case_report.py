"""The content of CASE.json, and when a case counts as done."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sautomed import errors
from sautomed.inference.batch import SegmentOptions
from sautomed.inference.batch.case_report import organ_volumes
from sautomed.inference.confidence.predictor import fit_predictor
from sautomed.inference.confidence.review import CaseConfidence
from sautomed.inference.model import Model
from sautomed.scans import ReadOptions
from sautomed.scans.grid import NativeGrid
from sautomed.scans.paths import sha256_of
from sautomed.scans.volume import LabelMap


def label_map(array, affine=None):
    affine = np.diag([5.0, 2.0, 2.0, 1.0]) if affine is None else affine
    return LabelMap(array, affine, NativeGrid(array.shape, affine), "axial", {1: "liver", 2: "spleen"})


def some_labels():
    array = np.zeros((4, 5, 6), np.uint8)
    array[1, 1:3, 1:6] = 1
    return array


def test_volumes_are_millilitres_and_a_missing_organ_is_a_plain_zero():
    liver, spleen = organ_volumes(label_map(some_labels()))
    assert (liver.present, liver.voxels, liver.volume_ml) == (True, 10, pytest.approx(0.2))
    assert (spleen.present, spleen.voxels, spleen.volume_ml, spleen.reason) == (False, 0, 0.0, None)


def test_a_statistic_that_failed_is_null_with_its_reason(monkeypatch):
    broken = np.diag([np.inf, 2.0, 2.0, 1.0])
    liver, spleen = organ_volumes(label_map(some_labels(), broken))
    assert (liver.voxels, liver.volume_ml, liver.reason) == (10, None, "the volume of a voxel is inf ml")
    assert spleen.volume_ml == 0.0

    def full(self):
        raise MemoryError

    monkeypatch.setattr(LabelMap, "voxel_counts", full)
    for organ in organ_volumes(label_map(some_labels())):
        assert (organ.present, organ.voxels, organ.volume_ml) == (None, None, None)
        assert "could not be counted" in organ.reason


def test_a_report_names_input_outputs_and_settings(reported, model, tmp_path):
    report = json.loads(reported.read_text())
    scan = tmp_path / "in" / "a.nii.gz"
    assert (report["schema"], report["case"], report["status"]) == ("sautomed case 1", "a", "done")
    assert report["input"]["path"] == str(scan)
    assert report["input"]["sha256"] == sha256_of([scan])
    assert report["input"]["shape"] == [40, 32, 6]
    assert report["input"]["spacing_mm"] == [2.0, 2.0, 5.0]
    assert (report["input"]["orientation"], report["input"]["plane"]) == ("RAS", "axial")
    assert report["input"]["affine"] == np.diag([2.0, 2.0, 5.0, 1.0]).tolist()
    assert report["model"] == {"path": str(model.folder), "sha256": model.sha256}
    assert report["settings"]["formats"] == ["nii.gz", "nii"]
    assert (report["device"], report["chunk"], report["error"]) == ("cpu", 8, None)
    assert report["fell_back_from"] is None
    assert set(report["seconds"]) == {"read", "segment", "write"}
    assert report["memory"]["peak_bytes"] > 0
    assert report["memory"]["cuda_peak_bytes"] is None
    assert [row["path"] for row in report["outputs"]] == ["a.nii.gz", "a.nii", "a.prompts.json", "a.png"]
    for row in report["outputs"]:
        output = reported.parent / row["path"]
        assert (row["bytes"], row["sha256"]) == (output.stat().st_size, sha256_of([output]))
    assert {organ["name"]: organ["value"] for organ in report["organs"]} == {"bright": 1, "dark": 5}


def test_a_report_says_how_sure_each_organ_is_and_what_to_look_at(reported):
    """Random weights are sure of nothing; the model of these tests has no predictor, as an older one."""
    report = json.loads(reported.read_text())
    assert report["qc"] == "review"
    assert all(note.startswith(("bright: ", "dark: ")) for note in report["review"])
    assert (report["least_sure"], report["confidence"]) == (None, None)
    for organ in report["organs"]:
        assert organ["predicted_dsc"] is None
        assert (0 < organ["signals"]["soft_dice"] < 1) == organ["present"]


def test_a_model_with_a_predictor_says_the_least_predicted_dsc(run, write, model, tmp_path):
    predictor = fit_predictor([{"soft_dice": 0.3}, {"soft_dice": 0.9}], [0.3, 0.9], cases=2)
    able = Model(replace(model.bundle, predictor=predictor), model.device, model.folder, sha256=model.sha256)
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True, model=able)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    predicted = [organ["predicted_dsc"] for organ in report["organs"]]
    assert report["least_sure"] == min(predicted)
    assert report["confidence"] == {"cases": 2, "calibrated": False}
    assert any("(from 2 cases: uncalibrated, as these are fewer than 10)" in note for note in report["review"])


def test_a_sure_result_is_ok(run, write, tmp_path, monkeypatch):
    monkeypatch.setattr("sautomed.inference.batch.run.case_confidence", lambda *args: CaseConfidence())
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (report["qc"], report["review"]) == ("ok", [])


def test_a_case_without_any_organ_is_marked_for_review(run, model, write, tmp_path, monkeypatch):
    slices = type(model).slices
    monkeypatch.setattr(
        type(model), "slices", lambda *args: (replace(part, labels=0 * part.labels) for part in slices(*args))
    )
    outcome = run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert not outcome.failures
    assert report["qc"] == "review"
    assert all((row["present"], row["volume_ml"]) == (False, 0.0) for row in report["organs"])


def test_a_failed_case_says_so_with_the_cure(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.nii.gz").write_text("no scan")
    run(tmp_path / "in", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "bad.json").read_text())
    assert (report["status"], report["qc"], report["outputs"]) == ("failed", None, [])
    assert report["error"]["id"] == errors.NotAScan.id
    assert report["error"]["exit_code"] == 3
    assert report["error"]["cure"]
    assert (report["review"], report["least_sure"], report["confidence"]) == ([], None, None)
    assert set(report) == set(json.loads(json.dumps(report)))


def test_options_are_plain_values():
    assert SegmentOptions() == SegmentOptions(reading=ReadOptions())
