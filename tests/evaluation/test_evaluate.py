"""Two folders in, scores.csv and summary.json out; a bad case does not stop the others."""

import csv
import json

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets.parse_rules import parse_rules
from sautomed.evaluation import CONVENTIONS
from sautomed.evaluation.evaluate import evaluate
from sautomed.scans import read_labels
from sautomed.scans.volume import LabelMap

AFFINE = np.diag([1.0, 2.0, 4.0, 1.0])
LABELS = {"background": 0, "liver": 1, "spleen": 2, "gallbladder": 3}


def organs(shift=0, spleen=True):
    """Liver 4x4x4, spleen 3x3x2, no gallbladder."""
    array = np.zeros((16, 16, 10), np.uint8)
    array[2 + shift : 6 + shift, 2:6, 2:6] = 1
    if spleen:
        array[10:13, 10:13, 4:6] = 2
    return array


def save(folder, case, array, affine=AFFINE):
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{case}.nii.gz")


@pytest.fixture
def folders(tmp_path):
    """Three cases: perfect, moved by one voxel, spleen missed."""
    predictions, references = tmp_path / "predictions", tmp_path / "data" / "labelsTr"
    for case, predicted in {"a": organs(), "b": organs(1), "c": organs(spleen=False)}.items():
        save(references, case, organs())
        save(predictions, case, predicted)
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": LABELS}))
    return predictions, references, tmp_path / "out"


def rows(output):
    with (output / "scores.csv").open(newline="") as stream:
        return {(row["case"], row["class"]): row for row in csv.DictReader(stream)}


def test_each_case_and_class_has_a_row_with_the_scores_of_the_native_grid(folders):
    evaluate(*folders)
    table = rows(folders[2])
    assert len(table) == 3 * 3
    assert list(table["a", "liver"]) == [
        *("case", "class_id", "class"),
        *CONVENTIONS["ours"].metrics,
        *("tolerance_mm", "volume_pred_ml", "volume_ref_ml", "status"),
    ]
    perfect, moved, missed = table["a", "liver"], table["b", "liver"], table["c", "spleen"]
    assert [float(perfect[key]) for key in ("dsc", "hd95_mm", "hd_mm", "nsd")] == [1, 0, 0, 1]
    assert float(moved["dsc"]) == 0.75
    assert float(moved["hd_mm"]) == 1
    assert float(perfect["volume_ref_ml"]) == pytest.approx(64 * 8 / 1000)
    assert (float(missed["dsc"]), missed["hd_mm"], missed["hd95_mm"], missed["status"]) == (0, "", "", "missed")
    assert (float(missed["volume_pred_ml"]), float(missed["volume_ref_ml"])) == (0, pytest.approx(18 * 8 / 1000))
    assert (table["a", "gallbladder"]["dsc"], table["a", "gallbladder"]["status"]) == ("", "absent")
    assert moved["tolerance_mm"] == "2"


def test_references_may_be_in_another_unit_of_length(folders):
    predictions, references, output = folders
    for case in "abc":
        image = nibabel.Nifti1Image(organs(), np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE)
        image.header.set_xyzt_units("meter")
        nibabel.save(image, references / f"{case}.nii.gz")
    evaluate(predictions, references, output)
    assert float(rows(output)["b", "liver"]["hd_mm"]) == pytest.approx(1)
    assert float(rows(output)["a", "liver"]["volume_ref_ml"]) == pytest.approx(64 * 8 / 1000)


def test_the_summary_is_nnunets_with_intervals_and_counts(folders):
    summary = evaluate(*folders)
    content = json.loads((folders[2] / "summary.json").read_text())
    liver, spleen = content["mean"]["1"], content["mean"]["2"]
    assert liver["Dice"] == pytest.approx((1 + 0.75 + 1) / 3)
    assert spleen["Dice"] == pytest.approx(2 / 3)
    assert content["foreground_mean"]["Dice"] == pytest.approx((liver["Dice"] + spleen["Dice"]) / 2)
    assert content["mean"]["3"]["Dice"] is None
    first = content["metric_per_case"][1]
    nnunet = {"Dice": 0.75, "IoU": 0.6, "TP": 48, "FP": 16, "FN": 16, "TN": 2560 - 80, "n_pred": 64, "n_ref": 64}
    assert first["metrics"]["1"].items() >= nnunet.items()
    assert {"HD95", "HD", "NSD"} <= set(first["metrics"]["1"])
    assert first["reference_file"].endswith("b.nii.gz")
    assert content["intervals_95"]["classes"]["1"]["Dice"]["low"] <= liver["Dice"]
    assert content["counts"]["2"] == {"scored": 2, "missed": 1}
    assert content["tolerance_mm"] == 2
    assert summary.overall["dsc"].mean == pytest.approx(content["foreground_mean"]["Dice"])
    assert summary.names == {1: "liver", 2: "spleen", 3: "gallbladder"}


def test_an_organ_that_only_the_prediction_has_counts_as_spurious(folders):
    extra = organs()
    extra[0, 0, 0] = 3
    save(folders[0], "a", extra)
    evaluate(*folders)
    row = rows(folders[2])["a", "gallbladder"]
    assert (float(row["dsc"]), row["hd_mm"], row["status"]) == (0, "", "spurious")


def test_evaluating_twice_gives_the_same_bytes(folders):
    evaluate(*folders)
    before = [(folders[2] / name).read_bytes() for name in ("scores.csv", "summary.json")]
    evaluate(*folders)
    assert before == [(folders[2] / name).read_bytes() for name in ("scores.csv", "summary.json")]


@pytest.mark.parametrize(
    "content",
    [
        '{"schema": "sautomed summary 1", "cases": []}',
        '{"foreground_mean": {}, "mean": {}, "metric_per_case": []}',  # nnU-Net's
        '{"half',
        "[]",
        None,
    ],
)
def test_a_summary_that_no_evaluation_wrote_is_refused_before_any_case_is_scored(folders, content):
    summary = folders[2] / "summary.json"
    folders[2].mkdir()
    summary.mkdir() if content is None else summary.write_text(content)
    seen = []
    with pytest.raises(errors.TargetExists, match="not written by an evaluation"):
        evaluate(*folders, on_case=lambda *case: seen.append(case))
    assert (seen, list(folders[2].iterdir())) == ([], [summary])
    assert content is None or summary.read_text() == content


def test_progress_is_reported_after_each_case(folders):
    seen = []
    evaluate(*folders, on_case=lambda done, total, case: seen.append((done, total, case)))
    assert seen == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]


def test_predictions_stored_in_another_axis_order_score_the_same(folders):
    predictions, _, output = folders
    image = nibabel.load(predictions / "b.nii.gz")
    evaluate(*folders)
    before = (output / "scores.csv").read_text()
    turned = image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    nibabel.save(turned, predictions / "b.nii.gz")
    evaluate(*folders)
    assert (output / "scores.csv").read_text() == before


def test_without_names_each_value_is_a_class(folders):
    predictions, references, output = folders
    (references.parent / "dataset.json").unlink()
    assert evaluate(predictions, references, output).names == {1: "label 1", 2: "label 2"}


def test_names_of_the_caller_come_first(folders):
    assert evaluate(*folders, names={1: "Leber", 2: "Milz"}).names == {1: "Leber", 2: "Milz"}


def test_the_tolerance_is_the_callers(folders):
    strict = evaluate(*folders, tolerance_mm=0.5)
    assert strict.classes[1]["nsd"].mean < evaluate(*folders).classes[1]["nsd"].mean == 1


# --- conventions ------------------------------------------------------------------------------------------------------


def test_the_transunet_convention_is_applied_to_a_folder(folders):
    """In voxels; a missed organ has HD95 0, a spurious one the perfect scores, and nothing is left out of the means."""
    extra = organs()
    extra[0, 0, 0] = 3
    save(folders[0], "a", extra)
    summary = evaluate(*folders, convention="transunet")
    table = rows(folders[2])
    scores = {key: (float(row["dsc"]), float(row["hd95_voxels"]), row["status"]) for key, row in table.items()}
    assert scores["b", "liver"] == (0.75, 1, "scored")
    assert scores["c", "spleen"] == (0, 0, "missed")
    assert scores["a", "gallbladder"] == (1, 0, "spurious")
    assert scores["b", "gallbladder"] == (0, 0, "absent")
    assert "nsd" not in table["a", "liver"]
    assert summary.classes[3]["dsc"].mean == pytest.approx(1 / 3)
    assert summary.classes[3]["dsc"].cases == 3
    assert summary.overall["dsc"].mean == pytest.approx(((1 + 0.75 + 1) / 3 + 2 / 3 + 1 / 3) / 3)
    content = json.loads((folders[2] / "summary.json").read_text())
    assert content["convention"] == summary.convention == "transunet"
    assert content["foreground_mean"]["Dice"] == pytest.approx(summary.overall["dsc"].mean)
    assert content["counts"]["3"] == {"spurious": 1, "absent": 2}


def test_the_monai_convention_is_applied_to_a_folder(folders):
    extra = organs()
    extra[0, 0, 0] = 3
    save(folders[0], "a", extra)
    ours = evaluate(*folders)
    theirs = evaluate(*folders, convention="monai")
    table = rows(folders[2])
    assert (table["a", "gallbladder"]["dsc"], float(table["a", "gallbladder"]["nsd"])) == ("", 0)
    assert theirs.counts == ours.counts
    for metric in theirs.metrics:
        assert theirs.classes[1][metric].mean == pytest.approx(ours.classes[1][metric].mean, abs=1e-4)


def test_a_case_that_fails_is_in_no_mean_of_any_convention(folders):
    (folders[0] / "b.nii.gz").write_text("nothing")
    with pytest.raises(errors.SomeCasesFailed) as caught:
        evaluate(*folders, convention="transunet")
    assert caught.value.result.classes[1]["hd95_voxels"].cases == 2
    assert rows(folders[2])["b", "liver"]["hd95_voxels"] == ""


def test_an_unknown_convention_is_refused_before_anything_is_written(folders):
    with pytest.raises(errors.UsageError, match="no metric convention 'medpy'"):
        evaluate(*folders, convention="medpy")
    assert not folders[2].exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def some_failed(folders):
    with pytest.raises(errors.SomeCasesFailed) as caught:
        evaluate(*folders)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0601", 6)
    return caught.value


def test_a_reference_without_a_prediction_is_listed_and_in_no_mean(folders):
    (folders[0] / "a.nii.gz").unlink()
    summary = evaluate(*folders)
    assert summary.unpredicted == ("a",)
    content = json.loads((folders[2] / "summary.json").read_text())
    assert content["references_without_prediction"] == ["a"]
    assert [entry["case"] for entry in content["metric_per_case"]] == ["b", "c"]
    assert summary.classes[1]["dsc"].mean == pytest.approx(0.875)


@pytest.mark.parametrize("break_it", ["other grid", "unknown label", "no nifti"])
def test_a_bad_prediction_fails_alone_with_its_reason(folders, break_it):
    predictions = folders[0]
    if break_it == "other grid":
        save(predictions, "b", organs(), np.diag([1.0, 2.0, 5.0, 1.0]))
        words = ["prediction and reference lie up to", "1 x 2 x 5 mm", "1 x 2 x 4 mm"]
    elif break_it == "unknown label":
        save(predictions, "b", organs() * 4)
        words = ["4 (64 voxels)", "Known are: 0 background, 1 liver", "--map 4=LABEL"]
    else:
        (predictions / "b.nii.gz").write_text("nothing")
        words = ["is no scan that can be read"]
    fault = some_failed(folders)
    assert all(word in str(fault) for word in words), str(fault)
    assert set(fault.result.failed) == {"b"}
    assert fault.result.counts[1] == {"scored": 2, "failed": 1}


def test_of_two_files_the_fault_itself_is_raised(folders):
    predictions, references, output = folders
    save(predictions, "b", organs(), np.diag([1.0, 2.0, 5.0, 1.0]))
    with pytest.raises(errors.GridMismatch):
        evaluate(predictions / "b.nii.gz", references / "b.nii.gz", output)


@pytest.mark.parametrize("empty", [True, False])
def test_an_evaluation_without_any_class_is_written_too(tmp_path, empty):
    """Without a dataset.json: no label anywhere, or no case that can be read."""
    folders = tmp_path / "predictions", tmp_path / "references", tmp_path / "out"
    save(folders[1], "a", organs() * 0)
    save(folders[0], "a", organs() * 0)
    if empty:
        assert evaluate(*folders).names == {}
    else:
        (folders[0] / "a.nii.gz").write_text("nothing")
        assert set(some_failed(folders).result.failed) == {"a"}
    assert rows(folders[2]) == {}


def test_a_case_id_keeps_an_ending_like_a_channel_number(folders):
    for folder in folders[:2]:
        (folder / "a.nii.gz").rename(folder / "a_0000.nii.gz")
    assert list(evaluate(*folders).files) == ["a_0000", "b", "c"]


def test_predictions_without_a_reference_are_listed_and_not_scored(folders):
    save(folders[0], "stranger", organs())
    assert evaluate(*folders).unmatched == ("stranger",)
    assert json.loads((folders[2] / "summary.json").read_text())["predictions_without_reference"] == ["stranger"]


def test_labels_are_compared_by_name_whatever_their_numbers(folders):
    before = evaluate(*folders)
    for path in folders[0].iterdir():
        save(folders[0], path.name.split(".")[0], np.array([0, 9, 1, 2], np.uint8)[nibabel.load(path).dataobj])
    other = {"background": 0, "Spleen": 1, "gall bladder": 2, "liver": 9}
    (folders[0] / "dataset.json").write_text(json.dumps({"labels": other}))
    renamed = evaluate(*folders, rules=rules(maps=["gall bladder=gallbladder"]))
    assert renamed.names == before.names
    assert renamed.overall == before.overall


def rules(maps=(), ignore=()):
    return lambda labels, in_files: parse_rules(maps, ignore, False, lambda: labels, lambda: in_files)


def test_organs_that_the_references_lack_are_refused_until_they_are_mapped_or_ignored(folders):
    (folders[0] / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "Leber": 1, "spleen": 2}}))
    fault = some_failed(folders)
    assert set(fault.result.failed) == {"a", "b", "c"}
    assert "none of 1 liver, 2 spleen, 3 gallbladder: Leber (value 1). Give their labels with --map Leber=LABEL" in str(
        fault
    )
    mapped = evaluate(*folders, rules=rules(maps=["Leber=liver"]))
    assert mapped.classes[1]["dsc"].mean == pytest.approx((1 + 0.75 + 1) / 3)
    ignored = evaluate(*folders, rules=rules(ignore=["Leber", "liver"]))
    assert ignored.names == {2: "spleen", 3: "gallbladder"}
    assert ignored.classes[2]["dsc"].mean == pytest.approx(2 / 3)


def test_labels_that_no_prediction_has_are_missed_with_a_warning(folders, caplog):
    (folders[1].parent / "dataset.json").unlink()
    names = {1: "liver", 2: "spleen"}
    for folder, known in ((folders[0], {1: "liver"}), (folders[1], names)):
        for path in list(folder.iterdir()):
            labels = read_labels(path)
            array = labels.array * np.isin(labels.array, list(known)).astype(np.uint8)
            LabelMap(array, labels.affine, labels.native, labels.plane, known).save(path)
    assert evaluate(*folders).classes[2]["dsc"].mean == 0
    assert "no prediction has a label named spleen" in caplog.text


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".seg.nrrd"])
def test_predictions_may_be_of_any_format_that_is_read(folders, ending):
    evaluate(*folders)
    before = (folders[2] / "scores.csv").read_text()
    for path in list(folders[0].iterdir()):
        read_labels(path).save(path.with_name(path.name.replace(".nii.gz", ending)))
        path.unlink()
    evaluate(*folders)
    assert (folders[2] / "scores.csv").read_text() == before


def test_the_references_may_be_a_dataset(folders):
    """Its label maps are scored, and its images ignored."""
    predictions, references, output = folders
    for path in list(references.iterdir()):
        save(references.parent / "imagesTr", f"{path.name.split('.')[0]}_0000", organs())
    evaluate(predictions, references, output)
    before = (output / "scores.csv").read_text()
    summary = evaluate(predictions, references.parent, output)
    assert summary.names == {1: "liver", 2: "spleen", 3: "gallbladder"}
    assert (output / "scores.csv").read_text() == before


def test_a_dataset_without_label_maps_has_no_references(folders):
    predictions, references, output = folders
    for path in list(references.iterdir()):
        save(references.parent / "imagesTr", f"{path.name.split('.')[0]}_0000", organs())
        path.unlink()
    references.rmdir()
    with pytest.raises(errors.NoCases, match="no label map to compare with"):
        evaluate(predictions, references.parent, output)


def test_a_reference_with_unknown_labels_fails_alone(folders):
    predictions, references, output = folders
    for case in "abc":
        save(references.parent / "imagesTr", f"{case}_0000", organs())
    save(references, "b", organs() * 7)
    with pytest.raises(errors.SomeCasesFailed) as caught:
        evaluate(predictions, references.parent, output)
    assert set(caught.value.result.failed) == {"b"}
    assert "7 (64 voxels)" in caught.value.result.failed["b"]
