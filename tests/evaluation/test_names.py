"""Where names of labels come from, and what is scored."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.evaluation.evaluate import evaluate
from sautomed.evaluation.names import labels_to_score, names_by_case, names_of_folder
from sautomed.evaluation.pairs import Pairs
from sautomed.scans import read_labels
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap

from ..scans.dicom.build import make_series
from ..scans.dicom.derived.labelled import grid_of, labels_on

NAMES = {1: "liver", 2: "spleen"}
OTHER = {1: "Spleen", 5: "Liver"}


def label_map(names=NAMES, numbers=(0, 1, 2)):
    array = np.zeros((6, 5, 4), np.uint8)
    array[1:3], array[4] = 1, 2
    native = NativeGrid((4, 5, 6), np.diag([2.0, 2, 5, 1]))
    return LabelMap(np.array(numbers, np.uint8)[array], native.affine[[2, 1, 0, 3]], native, "axial", dict(names))


def plain(path, labels):
    """Write a label map without names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels.to_native(), labels.native.affine), path)
    return path


def case_report(path, names, outputs, schema="sautomed case 1"):
    organs = [{"value": value, "name": name, "present": True} for value, name in names.items()]
    path.write_text(json.dumps({"schema": schema, "organs": organs, "outputs": [{"path": name} for name in outputs]}))


def test_a_header_comes_before_a_report_and_a_report_before_the_folder(tmp_path):
    files = {"a": tmp_path / "a.nrrd", "b": tmp_path / "b.nii.gz", "c": tmp_path / "c.nii.gz"}
    label_map(OTHER, (0, 5, 1)).save(files["a"])
    case_report(tmp_path / "a.json", {1: "of an older version"}, ["a.nrrd"])
    for case in "bc":
        plain(files[case], label_map())
        case_report(
            tmp_path / f"{case}.json", {3: f"organ of {case}"}, [f"{case}.nii.gz"] if case == "b" else ["d.nii"]
        )
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "kidney": 4}}))
    shared = names_of_folder(tmp_path)
    assert names_by_case(files, shared) == {"a": OTHER, "b": {3: "organ of b"}, "c": {4: "kidney"}}
    assert names_by_case(files, {})["c"] == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "sautomed case 1"}', '{"schema": "other", "organs": []}'])
def test_other_json_files_beside_a_label_map_name_nothing(tmp_path, text):
    path = plain(tmp_path / "a.nii.gz", label_map())
    path.with_name("a.json").write_text(text)
    assert names_by_case({"a": path}, {}) == {"a": {}}


def test_a_description_in_or_beside_a_folder_names_its_labels(tmp_path):
    folder = tmp_path / "masks"
    path = plain(folder / "a.nii.gz", label_map())
    assert names_of_folder(folder) == {}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    assert names_of_folder(folder) == {1: "liver"}
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 1}}))
    assert names_of_folder(folder) == names_of_folder(path) == {1: "spleen"}


def labels_of(expected, predicted, declared=MappingProxyType({})):
    pairs = Pairs({case: (Path(case), Path(case)) for case in expected})
    return labels_to_score(pairs, declared, expected, predicted)


def test_references_decide_and_predictions_where_references_have_no_names():
    assert labels_of({"a": NAMES}, {"a": OTHER}) == NAMES
    assert labels_of({"a": {}}, {"a": OTHER}) == OTHER
    assert labels_of({"a": {}}, {"a": {}}) == {}


def test_names_of_all_files_get_a_number_each():
    assert labels_of({"a": NAMES, "b": {1: "kidney", 2: "SPLEEN"}}, {"a": NAMES, "b": NAMES}) == {
        1: "liver",
        2: "spleen",
        3: "kidney",
    }


def test_a_description_numbers_files_without_names_and_names_labels_that_no_file_has():
    declared = {1: "liver", 2: "spleen", 3: "kidney"}
    assert labels_of({"a": OTHER, "b": NAMES}, {"a": {}, "b": {}}, declared) == declared
    with pytest.raises(errors.UnmatchedNames):
        labels_of({"a": OTHER, "b": NAMES}, {"a": {}, "b": {}})


def scores(folders, output):
    summary = evaluate(*folders, output)
    return {summary.names[label]: means["dsc"].mean for label, means in summary.classes.items()}


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nrrd", ".nii.gz"])
def test_files_that_number_their_labels_differently_are_compared_by_name(tmp_path, ending):
    folders = tmp_path / "predictions", tmp_path / "references"
    for folder in folders:
        folder.mkdir()
    label_map().save(folders[1] / f"a{ending}")
    label_map(OTHER, (0, 5, 1)).save(folders[1] / f"b{ending}")
    label_map(OTHER, (0, 5, 1)).save(folders[0] / f"a{ending}")
    label_map().save(folders[0] / f"b{ending}")
    assert scores(folders, tmp_path / "out") == {"liver": 1, "spleen": 1}


@pytest.mark.parametrize("nameless", [0, 1])
def test_files_without_names_need_others_that_agree(tmp_path, nameless):
    folders = [tmp_path / "predictions", tmp_path / "references"]
    named = folders[1 - nameless]
    for case in "ab":
        plain(folders[nameless] / f"{case}.nii.gz", label_map())
    named.mkdir()
    for case in "ab":
        label_map().save(named / f"{case}.nii.gz")
    assert scores(folders, tmp_path / "out") == {"liver": 1, "spleen": 1}
    label_map(OTHER, (0, 5, 1)).save(named / "b.nii.gz")
    with pytest.raises(errors.UnmatchedNames, match=r"has no names.*\(b are not as 1 liver, 2 spleen\)") as caught:
        evaluate(*folders, tmp_path / "out")
    assert "dataset.json beside them" in caught.value.cure
    (folders[nameless] / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 2}}))
    assert scores(folders, tmp_path / "out") == {"liver": 1, "spleen": 1}


def test_an_output_of_segment_is_scored_by_name_in_formats_that_hold_none(tmp_path):
    folders = tmp_path / "predictions", tmp_path / "references"
    folders[0].mkdir()
    label_map().save(folders[0] / "a.mha")
    assert not any("liver" in name for name in read_labels(folders[0] / "a.mha").names.values())
    case_report(folders[0] / "a.json", NAMES, ["a.mha"])
    swapped = label_map(OTHER, (0, 5, 1))
    plain(folders[1] / "a.nii.gz", replace(swapped, names={}))
    (folders[1] / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spleen": 1, "liver": 5}}))
    assert scores(folders, tmp_path / "out") == {"liver": 1, "spleen": 1}


def test_dicom_segmentations_are_scored_by_name_although_they_leave_slices_out(tmp_path):
    frames = np.zeros((6, 9, 7), np.uint8)
    frames[1:3, 2:5, 1:4], frames[4, 6:8, 4:6] = 1, 2
    grid = grid_of(make_series(tmp_path / "ct", frames.shape).path)
    labels_on(frames, grid, {1: "liver", 2: "spleen"}).save(tmp_path / "predictions" / "a.seg.dcm")
    whole = labels_on(np.array([0, 5, 1], np.uint8)[frames], grid, {1: "Spleen", 5: "Liver"})
    for ending in (".nii.gz", ".labelmap.dcm"):
        whole.save(tmp_path / f"as{ending}" / f"a{ending}")
        found = scores((tmp_path / "predictions", tmp_path / f"as{ending}"), tmp_path / "out")
        assert found == {"Liver": 1, "Spleen": 1}
    whole.save(tmp_path / "predictions" / "a.nii.gz")  # the same result once more, in another format
    assert scores((tmp_path / "predictions", tmp_path / "as.nii.gz"), tmp_path / "out") == {"Liver": 1, "Spleen": 1}
