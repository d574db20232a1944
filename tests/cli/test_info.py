"""How a scan, a model folder and a run are described."""

import json
import subprocess
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK
from safetensors.numpy import save_file

from sautomed import errors
from sautomed.cli.info import describe
from sautomed.inference.prompts.document import Carried, GivenAbsence, GivenBox, LockedSlice
from sautomed.inference.prompts.file import write_prompts
from sautomed.scans import ReadOptions, read_labels

from ..inference.prompts.documents import document


def scan(path, array=None):
    array = np.arange(6 * 7 * 5).reshape(6, 7, 5).astype(np.int16) if array is None else array
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1.0, 1.5, 4.0, 1.0])), path)
    return path


def model(folder):
    folder.mkdir(parents=True)
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"trunk": {"name": "small", "depths": list(range(20))}, "lr": 1e-4}))
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    (folder / "metrics.json").write_text(json.dumps({"dsc": 0.9123456789}))
    return folder


def test_a_scan_is_described_by_header_and_voxels(tmp_path):
    lines = dict(describe(scan(tmp_path / "a.nii.gz")))
    assert lines["kind"] == "scan"
    assert lines["format"] == "NIfTI-1, gzip"
    assert lines["shape"] == "6 x 7 x 5"
    assert lines["spacing"] == "1 x 1.5 x 4 mm"
    assert lines["orientation"].startswith("LAS")
    assert lines["plane"] == "axial"
    assert lines["stored as"] == "int16"
    assert lines["slices"] == "5 of 7 x 6"
    assert lines["intensity"] == "0 to 209"
    assert lines["warnings"] == "none"


def test_a_label_map_is_described_with_the_names_of_its_labels(tmp_path):
    labels = read_labels(scan(tmp_path / "a.nii.gz"))
    replace(labels, names={2: "spleen", 1: "liver"}).save(tmp_path / "b.seg.nrrd")
    assert dict(describe(tmp_path / "b.seg.nrrd"))["labels"].startswith("1 liver, 2 spleen, ")
    assert "labels" not in dict(describe(tmp_path / "a.nii.gz"))


def test_oddities_of_a_scan_are_shown(tmp_path):
    scan(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    assert "plain NIfTI" in dict(describe(tmp_path / "a.nii.gz"))["warning"]


def test_a_scan_that_cannot_be_segmented_is_described_with_its_fault(tmp_path):
    lines = dict(describe(scan(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.int16))))
    assert lines["fault"].startswith("SAM-E0306")
    assert lines["shape"] == "4 x 4 x 4"


def test_a_model_folder_is_described_by_what_it_holds(tmp_path):
    lines = dict(describe(model(tmp_path / "model")))
    assert lines["kind"] == "model folder"
    assert lines["weights"].startswith("17 numbers in 2 tensors")
    assert lines["config.trunk.name"] == "small"
    assert lines["config.trunk.depths"] == "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
    assert lines["config.lr"] == "0.0001"
    assert lines["dataset.labels.liver"] == "1"
    assert lines["metrics.dsc"] == "0.912346"


def test_a_run_is_described_by_its_folds_and_models(tmp_path):
    model(tmp_path / "fold_0" / "model")
    (tmp_path / "fold_1").mkdir()
    lines = dict(describe(tmp_path))
    assert lines["kind"] == "run"
    assert lines["folds"] == "fold_0, fold_1"
    assert lines["fold_0/model: metrics.dsc"] == "0.912346"


def test_a_run_without_a_model_yet_says_so(tmp_path):
    (tmp_path / "fold_0").mkdir()
    assert dict(describe(tmp_path))["models"] == "none yet"


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(errors.MissingFile, match="does not exist") as caught:
        describe(tmp_path / "nothing")
    assert caught.value.exit_code == 3


def test_any_other_folder_is_no_model(tmp_path):
    with pytest.raises(errors.NotAModel, match="no model folder") as caught:
        describe(tmp_path)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0403", 4)


def test_damaged_weights_are_named(tmp_path):
    (model(tmp_path / "model") / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(errors.NotAModel, match="safetensors"):
        describe(tmp_path / "model")


def test_a_damaged_description_is_named(tmp_path):
    (model(tmp_path / "model") / "config.json").write_text("{")
    with pytest.raises(errors.NotAModel, match=r"config\.json.*not valid JSON"):
        describe(tmp_path / "model")


def test_other_files_are_no_scan(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(errors.NotAScan):
        describe(tmp_path / "a.txt")


def test_describing_a_scan_needs_no_torch(tmp_path):
    code = "import sys; from sautomed.cli.info import describe; describe(sys.argv[1]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(scan(tmp_path / "a.nii.gz"))], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(("ending", "format_name"), [(".nrrd", "NRRD"), (".mha", "MetaImage"), (".mhd", "MetaImage")])
def test_scans_of_other_formats_are_described(tmp_path, ending, format_name):
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"))
    lines = dict(describe(tmp_path / f"a{ending}"))
    assert lines["format"].startswith(format_name)
    assert lines["orientation"].startswith("LPI")
    assert lines["handedness"] == "left"
    assert lines["intensity"] == "0 to 59"


def test_options_for_reading_a_scan_are_used(tmp_path):
    scan(tmp_path / "a.nii.gz", np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5))
    with pytest.raises(errors.NotThreeD):
        describe(tmp_path / "a.nii.gz")
    lines = dict(describe(tmp_path / "a.nii.gz", ReadOptions(frame=0)))
    assert lines["shape"] == "2 x 3 x 4"


def test_a_dicom_folder_is_described_with_its_series(shared_data):
    lines = describe(shared_data / "totalsegmentator" / "ct_dicom")
    assert dict(lines)["format"] == "DICOM CT, 20 files, JPEG 2000 Lossless"
    assert next(value for name, value in lines if name == "series").startswith("1: CT")


def test_of_series_that_are_no_volume_the_table_says_why(shared_data):
    lines = describe(shared_data / "dicom_series" / "refuse")
    rows = [value for name, value in lines if name == "series"]
    assert len(rows) == 5
    assert all("not usable: it " in row for row in rows)


def test_a_file_of_prompts_is_described(tmp_path):
    given = {(1, "liver"): GivenBox(box=(1.0, 1.0, 5.0, 5.0)), (2, "spleen"): GivenAbsence()}
    carried = (Carried(index=1, organ="liver", given=given[1, "liver"], slices=(2,)),)
    locked = (LockedSlice(index=0, masks={}),)
    write_prompts(tmp_path / "a.prompts.json", document().with_edits(given, carried, locked))
    lines = dict(describe(tmp_path / "a.prompts.json"))
    assert lines["kind"] == "prompts of a segmented scan"
    assert lines["format"] == "sautomed prompts 1, by sautomed 0.1.0"
    assert lines["scan"] == "a.nii.gz, axial, 3 slices of 8 x 12, counted from 0"
    assert (lines["scan's hash"], lines["model"], lines["model's hash"]) == ("a" * 64, "tiny", "b" * 64)
    assert lines["walk"] == "mid_to_ends, 8 slices at a time"
    assert lines["liver"] == "on slices 1 to 2; given: box on 1"
    assert lines["spleen"] == "not found; given: not here on 2"
    assert lines["carried on"] == "liver from 1 to 2"
    assert lines["locked"] == "slices 0"


def test_a_damaged_file_of_prompts_is_refused(tmp_path):
    (tmp_path / "a.prompts.json").write_text("{")
    with pytest.raises(errors.BadPrompts):
        describe(tmp_path / "a.prompts.json")


def test_describing_prompts_needs_no_torch(tmp_path):
    write_prompts(tmp_path / "a.prompts.json", document())
    code = "import sys; from sautomed.cli.info import describe; describe(sys.argv[1]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.prompts.json")], check=False)
    assert done.returncode == 0
