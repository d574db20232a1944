"""The rows of the bad-input table about results, paths to write to, and files from untrusted sources."""

import gzip
import json
import os
import stat
import sys
import zipfile
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from ..scans.dicom.build import make_series, zip_of
from .conftest import noise, write

# --- empty mask (evaluation) ---


def test_empty_masks_in_evaluation(command, tmp_path):
    truth = np.zeros((8, 8, 4), np.uint8)
    truth[2:5, 2:5] = 1
    for name, array in (("masks/a", truth * 0), ("truth/a", truth), ("masks/b", truth), ("truth/b", truth)):
        write(tmp_path / f"{name}.nii.gz", array)
    code, output = command("evaluate", "-p", tmp_path / "masks", "-r", tmp_path / "truth", "-o", tmp_path / "scores")
    assert code == 0
    assert "0.500" in output
    rows = (tmp_path / "scores" / "scores.csv").read_text().splitlines()
    header, first = rows[0].split(","), rows[1].split(",")
    row = dict(zip(header, first, strict=True))
    assert row["status"] == "missed"
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["foreground_mean"]["Dice"] == 0.5
    (case, _) = summary["metric_per_case"]
    assert case["metrics"]["1"]["Dice"] == 0
    assert case["metrics"]["1"]["HD95"] is None


# --- empty prediction ---


@pytest.fixture
def nothing_found(monkeypatch):
    from sautomed.inference.model import Model

    found = Model.slices

    def none(self, volume):
        return (replace(part, labels=0 * part.labels) for part in found(self, volume))

    monkeypatch.setattr(Model, "slices", none)


def test_empty_prediction(command, trained_run, tmp_path, nothing_found):
    scan = write(tmp_path / "a.nii.gz")
    assert command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--json")[0] == 0
    assert not np.asarray(nibabel.load(tmp_path / "b.nii.gz").dataobj).any()
    assert (tmp_path / "b.png").exists()
    report = json.loads((tmp_path / "b.json").read_text())
    assert (report["status"], report["qc"]) == ("done", "review")


# --- crash in statistics ---


def test_crash_in_statistics(command, trained_run, tmp_path, monkeypatch):
    from sautomed.scans.volume import LabelMap

    def crash(self):
        raise MemoryError("no room to count")

    monkeypatch.setattr(LabelMap, "voxel_counts", crash)
    scan = write(tmp_path / "a.nii.gz")
    order = ("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii.gz", "--json", "--no-preview")
    assert command(*order)[0] == 0
    for organ in json.loads((tmp_path / "b.json").read_text())["organs"]:
        assert (organ["voxels"], organ["volume_ml"], organ["present"]) == (None, None, None)
        assert "no room to count" in organ["reason"]


# --- path problems ---

posix = pytest.mark.skipif(os.name != "posix", reason="names and links that Windows does not have")


@posix
def test_paths_with_spaces_and_other_scripts(command, trained_run, tmp_path):
    scan = write(tmp_path / "Prüfung 測試 $x$" / "-a b'c\n\"d;$(touch x).nii.gz")
    code, _ = command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "aus gabe €")
    assert code == 0
    assert nibabel.load(tmp_path / "aus gabe €" / scan.name).shape == (40, 32, 6)
    assert (tmp_path / "aus gabe €" / scan.name.replace(".nii.gz", ".png")).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_a_name_that_is_no_text(command, trained_run, tmp_path):
    name = os.fsdecode(b"a\xff$.nii.gz")
    write(tmp_path / "in" / "a.nii.gz").rename(tmp_path / "in" / name)
    assert command("segment", "-i", tmp_path / "in", "-m", trained_run, "-o", tmp_path / "out")[0] == 0
    report = tmp_path / "out" / name.replace(".nii.gz", ".json")
    assert json.loads(report.read_text())["outputs"][0]["path"] == name
    scores = ("evaluate", "-p", tmp_path / "out", "-r", tmp_path / "out", "-o", tmp_path / "scores")
    assert command(*scores)[0] == 0
    code, output = command("convert", "-i", tmp_path / "in" / name, "-o", tmp_path / name)
    assert (code, output.endswith("a\\udcff$.nii.gz")) == (0, True)


@pytest.fixture
def unwritable(monkeypatch):
    """A drive on which no file can be written."""
    from pathlib import Path

    def refuse(self, *_, **__):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)


@pytest.mark.usefixtures("unwritable")
def test_a_read_only_place_is_found_before_the_work(refused, tmp_path):
    scan, nowhere = write(tmp_path / "a.nii.gz"), tmp_path / "nothing is read"
    words, out = ["cannot be written to: Read-only file system", "another place"], tmp_path / "out.nii.gz"
    refused(2, "SAM-E0203", words, "segment", "-i", scan, "-m", nowhere, "-o", out, target=out)
    refused(2, "SAM-E0203", words, "convert", "-i", scan, "-o", out, target=out)
    refused(2, "SAM-E0203", words, "evaluate", "-p", nowhere, "-r", nowhere, "-o", out, target=out)
    refused(2, "SAM-E0203", words, "doctor", nowhere, "-o", out, target=out)


LOOP, LONG = "loop", "n" * 300


@posix
@pytest.mark.parametrize("place", [LOOP, f"{LOOP}/a.nii.gz", f"{LONG}.nii.gz"])
@pytest.mark.parametrize(
    "order",
    [
        ("segment", "-i", "PLACE", "-m", "x", "-o", "y"), ("segment", "-i", "a.nii.gz", "-m", "x", "-o", "PLACE"),
        ("segment", "-i", "a.nii.gz", "-m", "PLACE", "-o", "y"), ("convert", "-i", "a.nii.gz", "-o", "PLACE"),
        ("info", "PLACE"), ("doctor", "x", "--fix", "PLACE"), ("phantom", "-o", "PLACE"),
        ("evaluate", "-p", "PLACE", "-r", "x", "-o", "y"), ("train", "-d", "x", "-o", "PLACE"), ("demo", "-o", "PLACE"),
    ],
    ids=lambda order: " ".join(order),
)  # fmt: skip
def test_a_path_that_no_system_can_open(refused, tmp_path, monkeypatch, place, order):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.nii.gz")
    (tmp_path / LOOP).symlink_to(tmp_path / LOOP)
    refused(2, "SAM-E0200", ["cannot be used as a path", "another"], *(place if x == "PLACE" else x for x in order))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", LOOP]


@posix
def test_a_name_that_is_too_long_with_its_ending_is_found_before_the_work(refused, tmp_path):
    scan, out = write(tmp_path / "a.nii.gz"), tmp_path / f"{'n' * 240}.nii.gz"
    refused(2, "SAM-E0203", ["File name too long", "a shorter name"], "segment", "-i", scan, "-m", "x", "-o", out)
    refused(2, "SAM-E0203", ["File name too long", "a shorter name"], "convert", "-i", scan, "-o", out)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_devices_and_pipes_are_neither_read_nor_replaced(refused, tmp_path):
    scan, pipe = write(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
    os.mkfifo(pipe)
    refused(3, "SAM-E0301", ["is a device or a pipe"], "info", pipe)
    words = ["a device or a pipe, which no file may replace", "-o"]
    refused(2, "SAM-E0203", words, "convert", "-i", scan, "-o", pipe, "--overwrite")
    refused(2, "SAM-E0203", words, "doctor", tmp_path, "-o", pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_scan_itself_is_no_output(refused, trained_run, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    before = scan.read_bytes()
    words = ["is the scan itself", "another -o"]
    refused(2, "SAM-E0202", words, "segment", "-i", scan, "-m", trained_run, "-o", scan, "--overwrite")
    refused(2, "SAM-E0202", words, "convert", "-i", scan, "-o", scan, "--overwrite")
    assert scan.read_bytes() == before


@posix
def test_odd_things_in_a_folder_of_scans(command, trained_run, tmp_path):
    folder = tmp_path / "in"
    write(folder / "a.nii.gz")
    write(folder / ".hidden.nii.gz")
    (folder / "d.nii.gz").mkdir()
    make_series(folder / "dicom", SeriesDescription="[red]x[/]")
    (folder / "b.nii.gz").symlink_to("objects/1f2e")
    (folder / "c.nii.gz").symlink_to(folder / "c.nii.gz")
    (folder / "itself").symlink_to(folder)
    code, output = command("segment", "-i", folder, "-m", trained_run, "-o", folder / "out", "--no-preview")
    assert code == 6
    assert "is a link to objects/1f2e, which is not there" in output
    assert sorted(path.name for path in (folder / "out").glob("*.nii.gz")) == ["a.nii.gz", "dicom.nii.gz"]
    assert "2 of 4 scans failed" in output


# --- malicious archive / checkpoint / JSON ---


def zip_with(folder, name, **attributes):
    path = zip_of(make_series(folder / "series").path, folder / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        for key, value in attributes.items():
            setattr(info, key, value)
        info.filename = name
        archive.writestr(info, b"/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "attributes", "words"),
    [
        ("../evil.dcm", {}, "whose path leaves the archive"),
        ("/etc/evil", {}, "whose path leaves the archive"),
        ("link.dcm", {"external_attr": (stat.S_IFLNK | 0o777) << 16}, "is a link"),
    ],
)
def test_malicious_archive(segment, tmp_path, name, attributes, words):
    segment(3, "SAM-E0321", [words, "nothing was unpacked"], zip_with(tmp_path, name, **attributes))


def test_a_zip_within_a_zip_is_not_unpacked(segment, tmp_path):
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(zip_of(make_series(tmp_path / "s").path, tmp_path / "inner.zip"), "inner.zip")
    segment(3, "SAM-E0302", ["holds no DICOM file", "Give the folder or the zip"], tmp_path / "outer.zip")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_malicious_checkpoint(refused, blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"image_encoder": Evil()}, tmp_path / "sam.pth")
    order = ("train", "-d", blocks.folder, "-o", tmp_path / "run", "--weights", tmp_path / "sam.pth", "--device", "cpu")
    refused(4, "SAM-E0407", ["sam.pth"], *order, "--set", "data.image_size=128")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"labels": {"a": ' + "9" * 5000 + "}}", "[]", "{'labels': 1}", "\ufeff"]
)
def test_malicious_json(refused, blocks, text):
    (blocks.folder / "dataset.json").write_text(text, encoding="utf-8")
    output = refused(3, "SAM-E0311", ["dataset.json"], "doctor", blocks.folder)
    assert any(cure in output for cure in ("Write the file again", "Correct the file", "It should read like"))


# --- interrupted run ---


def test_interrupted_run(command, trained_run, tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path / "in" / f"{name}.nii.gz", noise() + ord(name))
    order = ("segment", "-i", tmp_path / "in", "-m", trained_run, "-o", tmp_path / "out", "--no-preview")
    with monkeypatch.context() as patched:
        from sautomed.inference.model import Model

        found = Model.slices

        def stop_at_b(self, volume):
            if volume.path.name == "b.nii.gz":
                raise KeyboardInterrupt
            return found(self, volume)

        patched.setattr(Model, "slices", stop_at_b)
        code, output = command(*order)
        assert (code, "--resume" in output) == (130, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.nii.gz", "a.json", "a.prompts.json", "itksnap_labels.txt", "summary.json"
    }  # fmt: skip
    code, output = command(*order, "--resume")
    assert (code, "1 of 3 scans were done already" in output) == (0, True)
    whole = (tmp_path / "out" / "b.nii.gz").read_bytes()
    (tmp_path / "out" / "b.nii.gz").write_bytes(whole[:-10])
    code, output = command(*order, "--resume")
    assert (code, "2 of 3 scans were done already" in output) == (0, True)
    expected = nibabel.Nifti1Image.from_bytes(gzip.decompress(whole)).get_fdata()
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out" / "b.nii.gz").get_fdata(), expected)
