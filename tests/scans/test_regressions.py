"""Files that `benchmarks/fuzz_io.py` found: each once caused a crash, a wrong result or a message on the terminal."""

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from sautomed.cli.convert import convert_file
from sautomed.datasets.chaos.pictures import labels_of_grays, read_label_pictures
from sautomed.datasets.folds import load_or_make_folds
from sautomed.datasets.transunet.arrays import read_array
from sautomed.errors import BadGeometry, BadSplits, DamagedDicom, NotAScan, SautomedError, TruncatedFile
from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored
from sautomed.scans.dicom import series_table
from sautomed.scans.grid import corner_gap_mm

FILES = Path(__file__).with_name("regressions")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_io.py"
OPTIONS = (ReadOptions(), ReadOptions(frame=0, channel=0, resample=True, assume_spacing=True))


@dataclass(frozen=True)
class Finding:
    """A folder of `regressions`.

    Args:
        file: The file to read; "" for the folder.
        was: What was wrong.
        fault: Error with which it is refused now; None if it is read.
        warning: Part of the warning with which it is read.
    """

    file: str
    was: str
    fault: type[SautomedError] | None = None
    warning: str = ""


FINDINGS = {
    "dicom-cut-within-its-kind": Finding(
        "", "a file cut within its SOPClassUID was treated as one without an image: a slice was missing", DamagedDicom
    ),
    "dicom-jpeg-2000-enlarged": Finding("", "MemoryError, for an image that its bytes cannot hold", DamagedDicom),
    "dicom-jpeg-enlarged": Finding("", "the decoder filled what was missing with grey", DamagedDicom),
    "dicom-several-transfer-syntaxes": Finding("", "TypeError on several values of TransferSyntaxUID", DamagedDicom),
    "nifti-2-without-line-end-check": Finding(
        "a.nii", "HeaderDataError of nibabel on writing, because of a wrong eol_check"
    ),
    "nifti-2-with-more-behind-its-magic": Finding(
        "a.nii.gz", "HeaderDataError of nibabel on writing, because of a letter after the magic, which reading ignores"
    ),
    "nifti-qform-that-is-no-rotation": Finding(
        "a.nii.gz", "ValueError of nibabel on writing, because of a quaternion that reading ignores"
    ),
    "nifti-voxels-begin-at-an-odd-byte": Finding(
        "a.nii", "on writing, nibabel printed a warning about the offset of the source"
    ),
    "nifti-exactly-flat": Finding("a.nii.gz", "a warning of numpy about a determinant of 0", BadGeometry),
    "nifti-unknown-form-codes": Finding(
        "a.nii", "on writing, nibabel unset the unknown codes and with them the orientation, and printed a warning"
    ),
    "nrrd-text-cut-within-its-last-number": Finding(
        "a.nrrd", "the last number had lost a digit, without a warning", warning="cut short"
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_every_function_reads_or_refuses_it(name, tmp_path, capfd):
    finding = FINDINGS[name]
    path = shutil.copytree(FILES / name, tmp_path / name) / finding.file
    readers = [read_geometry, read_stored, read_scan, read_labels, converted]
    if path.is_dir():
        readers.append(lambda path, options: series_table(path, resample=options.resample))
    faults = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in OPTIONS:
            for reader in readers:
                try:
                    reader(path, options=options)
                except SautomedError as fault:
                    faults.append(fault)
        if finding.fault is not None:
            with pytest.raises(finding.fault):
                read_stored(path, OPTIONS[1])
        else:
            assert finding.warning in " ".join(read_stored(path, OPTIONS[1]).geometry.warnings)
            converted(path, OPTIONS[1])
    assert all(fault.cure and str(fault).replace("\n", "").isprintable() for fault in faults)
    assert capfd.readouterr() == ("", "")


def converted(path, options):
    """Convert there and back: it must stay at its place."""
    target = path.parent / "converted.nii"
    source = convert_file(path, target, options, overwrite=True)
    written = read_geometry(target, ReadOptions(assume_spacing=True))
    assert corner_gap_mm(source.affine, written.affine, source.shape) < 1e-3


def test_each_folder_has_its_row():
    others = {"hdf5-name-that-is-no-text", "png-left-open", "splits-turning-the-text"}
    others |= {"dicom-jpeg-ls-that-counts-for-long", "hdf5-time-for-numbers"}
    assert {folder.name for folder in FILES.iterdir()} == FINDINGS.keys() | others


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch):
    """Was: ten seconds within the decoder, for an image of 34 x 33 pixels."""
    monkeypatch.setattr("sautomed.scans.dicom.isolated._TIME_LIMIT_S", 0.5)
    with pytest.raises(DamagedDicom, match=r"3\.dcm has pixels that cannot be decoded"):
        read_stored(FILES / "dicom-jpeg-ls-that-counts-for-long")


def test_an_hdf5_file_with_a_name_that_is_no_text():
    """Was: TypeError where the names of its arrays were listed."""
    with pytest.raises(NotAScan, match="holds no array 'image'"):
        read_array(FILES / "hdf5-name-that-is-no-text" / "a.h5", "image")


def test_an_hdf5_file_with_a_type_that_numpy_lacks():
    """Was: TypeError of h5py."""
    with pytest.raises(TruncatedFile, match="cannot be read"):
        read_array(FILES / "hdf5-time-for-numbers" / "a.h5", "image")


def test_a_name_without_end_is_cut_in_the_message(tmp_path):
    """Was: a message of a hundred thousand letters, out of a splits file."""
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["a" * 100_000], "val": ["b"]}]))
    with pytest.raises(BadSplits, match=r"aaa\.\.\.") as caught:
        load_or_make_folds(tmp_path / "splits_final.json", ["b", "c"], 0)
    assert len(str(caught.value)) < 1000 + len(str(tmp_path))


def test_a_damaged_picture_is_closed():
    """Was: the file stayed open, with a ResourceWarning."""
    path = FILES / "png-left-open" / "a.png"
    with pytest.raises(TruncatedFile):
        read_label_pictures([path], (8, 9), labels_of_grays({1: (55, 70)}), {1: "liver"})
    if Path("/proc/self/fd").is_dir():
        opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
        assert str(path) not in opened


def test_a_message_cannot_steer_the_terminal():
    """Was: case names with signs that turn the direction of writing, or clear the screen, came out as they are."""
    with pytest.raises(BadSplits, match="does not have") as caught:
        load_or_make_folds(FILES / "splits-turning-the-text" / "splits_final.json", ["a", "b", "c"])
    assert str(caught.value).isprintable()


@pytest.mark.slow
def test_the_script_runs_and_finds_nothing(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--count",
            "96",
            "--minutes",
            "60",
            "--patience",
            "300",
            "--keep",
            str(tmp_path / "found"),
            "--parts",
            str(tmp_path / "parts"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    own, total = done.stdout.split("Total of the parts with seeds 0:")
    assert all("96 inputs" in text and " masks compared" in text for text in (own, total))
    assert not list((tmp_path / "found").iterdir())
