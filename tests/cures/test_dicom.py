"""Refusals of DICOM series, followed to the letter."""

import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from ..bad_input.conftest import write
from ..scans.dicom.build import CORONAL, make_series, set_tag, zip_of
from ..scans.dicom.test_segmentation import foreign


@pytest.fixture
def order(tmp_path):
    """Return the command that converts a series."""
    return lambda path: ("convert", "-i", path, "-o", tmp_path / "out.nii.gz", "--overwrite")


def edit_slice(number, **tags):
    """Return an `edit` that changes elements of one slice."""

    def edit(index, dataset):
        for keyword, value in tags.items() if index == number else ():
            set_tag(dataset, keyword, value)

    return edit


def tilted(folder):
    tilt = np.radians(14)

    def edit(index, dataset):
        dataset.ImagePositionPatient = [-100.0, -80, 30 + 2.5 * index]

    return make_series(folder, (6, 20, 20), orientation=(1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)), edit=edit)


def with_gap(folder):
    return make_series(folder, (8, 4, 4), edit=lambda index, _: index != 3)


def drifting(folder):
    return make_series(folder, (120, 2, 2), offsets_mm=np.cumsum([1.0] * 60 + [1.04] * 60))


# --- irregular series ---


IRREGULAR = [
    ("scans/dicom/checks.py irregularity GantryTilt", tilted),
    ("scans/dicom/checks.py irregularity UnevenGaps", with_gap),
    ("scans/dicom/checks.py irregularity UnevenGaps 2", drifting),
]


@pytest.mark.parametrize("cure", ["resample", "another"])
@pytest.mark.parametrize(("key", "make"), IRREGULAR)
def test_an_irregular_series(refuse, command, order, tmp_path, key, make, cure):
    refusal = refuse(key, *order(make(tmp_path / "series").path))
    if cure == "resample":
        refusal.works(refusal.take("Give (--resample)"))
    else:
        refusal.asks("or give a series with regular slices")
        assert command(*order(make_series(tmp_path / "other").path))[0] == 0


@pytest.mark.parametrize("option", [(), ("--resample",)])
def test_slices_too_far_apart_to_be_resampled_are_split(refuse, command, order, tmp_path, option):
    series = make_series(tmp_path / "series", (8, 2, 2), offsets_mm=[0, 1, 2, 3, 300, 301, 302, 303])
    key = "scans/dicom/resample.py regular_grid fault" if option else "scans/dicom/checks.py irregularity UnevenGaps"
    refusal = refuse(key, *order(series.path), *option).asks("Split the series into parts")
    (tmp_path / "part").mkdir()
    for file in series.files[:4]:
        file.rename(tmp_path / "part" / file.name)
    refusal.works()
    assert command(*order(tmp_path / "part"))[0] == 0


# --- odd images: removed, or the series is exported again ---


def without_position(folder):
    return make_series(folder, (5, 4, 4), edit=edit_slice(4, ImagePositionPatient=None))


def of_two_directions(folder):
    return make_series(folder, (5, 4, 4), edit=edit_slice(4, ImageOrientationPatient=list(CORONAL)))


def of_two_spacings(folder):
    return make_series(folder, (5, 4, 4), edit=edit_slice(4, PixelSpacing=[0.7, 0.95]))


def of_one_position_twice(folder):
    return make_series(folder, (5, 4, 4), offsets_mm=[0, 2, 4, 6, 6])


ODD = [
    (
        "scans/dicom/kinds.py _require_geometry NotAVolume",
        without_position,
        "Remove these images",
        r"first is (\S+)\.$",
    ),
    (
        "scans/dicom/checks.py _common_directions MixedOrientation",
        of_two_directions,
        "Remove the images",
        r", (\S+) by",
    ),
    ("scans/dicom/checks.py _require_same_format MixedSlices", of_two_spacings, "Remove the odd", r"but (\S+) has"),
    (
        "scans/dicom/checks.py _require_distinct_positions DuplicateSlices",
        of_one_position_twice,
        "Keep one",
        r"and (\S+) both",
    ),
]


@pytest.mark.parametrize(("key", "make", "words", "pattern"), ODD)
def test_odd_images_are_removed(refuse, order, tmp_path, key, make, words, pattern):
    series = make(tmp_path / "series")
    refusal = refuse(key, *order(series.path)).asks(words)
    (series.path / re.search(pattern, refusal.error.fault)[1]).unlink()
    refusal.works()


def test_volumes_at_one_place_get_folders(refuse, command, order, tmp_path):
    series = make_series(tmp_path / "series", (8, 4, 4), offsets_mm=[0, 2, 4, 6, 0, 2, 4, 6])
    key = "scans/dicom/checks.py _require_distinct_positions DuplicateSlices"
    refusal = refuse(key, *order(series.path)).asks("put the volumes into separate folders")
    (tmp_path / "second").mkdir()
    for file in series.files[4:]:
        file.rename(tmp_path / "second" / file.name)
    refusal.works()
    assert command(*order(tmp_path / "second"))[0] == 0


def skewed(folder):
    return make_series(folder, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])


def zero_spacing(folder):
    return make_series(folder, PixelSpacing=[0, 0])


def no_slope(folder):
    return make_series(folder, RescaleSlope=0)


def broken_header(folder):
    series = make_series(folder)
    path = series.files[2]
    path.write_bytes(path.read_bytes()[:400])
    return series


def promises_more(folder):
    return make_series(folder, Rows=60000, Columns=60000)


def without_pixels(folder):
    return make_series(folder, edit=edit_slice(2, PixelData=b""))


def with_few_pixels(folder):
    return make_series(folder, (4, 100, 100), edit=edit_slice(2, PixelData=bytes(18000)), PatientComments="x" * 3000)


EXPORTED = [
    ("scans/dicom/checks.py _directions BadGeometry", skewed, "Export the series again"),
    ("scans/dicom/checks.py _require_same_format BadGeometry", zero_spacing, "Export the series again"),
    ("scans/dicom/kinds.py _require_size TruncatedFile", promises_more, "Copy or download it again"),
    ("scans/dicom/pixels.py _scaled UnsupportedVoxels", no_slope, "Export or copy it from its source again"),
    ("scans/dicom/pixels.py _require_complete TruncatedFile", without_pixels, "Copy or download it again"),
    ("scans/dicom/pixels.py _require_complete TruncatedFile 2", with_few_pixels, "Copy or download it again"),
    ("scans/dicom/damage.py translate_errors DamagedDicom", broken_header, "Export or copy it from its source again"),
]


@pytest.mark.parametrize(("key", "make", "words"), EXPORTED)
def test_a_series_is_exported_or_copied_again(refuse, order, tmp_path, key, make, words):
    folder = make(tmp_path / "series").path
    refusal = refuse(key, *order(folder)).asks(words)
    shutil.rmtree(folder)
    make_series(folder)
    refusal.works()


def test_a_sequence_that_is_cut_off_is_copied_again(refuse_call, tmp_path):
    """An error that pydicom makes itself, without a number of the operating system."""
    from sautomed.scans.dicom.damage import translate_errors

    def read(damaged):
        with translate_errors(tmp_path, "a.dcm", "has a header that cannot be read"):
            if damaged:
                raise OSError("No tag to read at file position 3e8")

    refusal = refuse_call("scans/dicom/damage.py translate_errors DamagedDicom 2", read, True)
    refusal.asks("Export or copy it from its source again").works(False)


# --- what is no volume ---


def localiser(folder):
    return make_series(folder, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


def one_place(folder):
    return make_series(folder, offsets_mm=[0, 0, 0, 0])


def coloured(folder):
    return make_series(folder, PhotometricInterpretation="PALETTE COLOR")


def two_slices(folder):
    return make_series(folder, (2, 4, 4))


OTHERS = [
    ("scans/dicom/kinds.py require_scan NotAVolume", localiser, "Give the scan itself"),
    ("scans/dicom/kinds.py _require_grey UnsupportedVoxels", coloured, "Give the original series"),
    ("scans/dicom/checks.py require_stack NotAVolume", one_place, "Give a series whose slices cover the patient"),
    ("scans/dicom/checks.py _too_few TooFewSlices 2", two_slices, "or give another series"),
]


@pytest.mark.parametrize(("key", "make", "words"), OTHERS)
def test_another_series_is_given(refuse, command, order, tmp_path, key, make, words):
    refuse(key, *order(make(tmp_path / "series").path)).asks(words)
    assert command(*order(make_series(tmp_path / "scan").path))[0] == 0


def test_the_folder_of_a_slice_is_given(refuse, command, order, tmp_path):
    file = make_series(tmp_path / "series").files[1]
    refuse("scans/dicom/checks.py _too_few TooFewSlices", *order(file)).asks("Give the folder that holds all files")
    assert command(*order(file.parent))[0] == 0


def test_a_folder_without_dicom(refuse, command, order, tmp_path):
    scan = write(tmp_path / "folder" / "a.nii.gz")
    refusal = refuse("scans/dicom/find.py find NotAScan", *order(scan.parent))
    refusal.asks("Give the folder or the zip with the files of a series, or a NIfTI, NRRD or MHA file")
    series = make_series(tmp_path / "series").path
    for place in (series, zip_of(series, tmp_path / "series.zip"), scan):
        assert command(*order(place))[0] == 0


# --- several series ---


@pytest.fixture
def study(tmp_path):
    """Two volumes and a localiser."""
    folder = tmp_path / "study"
    make_series(folder, prefix="a", SeriesDescription="Topogram", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    make_series(folder, prefix="b", seed=1, SeriesDescription="Arterial", SeriesNumber=3)
    make_series(folder, prefix="c", seed=2, SeriesDescription="Portal venous", SeriesNumber=4)
    return folder


@pytest.mark.parametrize("by", ["number", "uid", "description"])
@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("scans/dicom/picker.py _pick SeveralSeries", ()),
        ("scans/dicom/picker.py _matching SeveralSeries", ("--series", "coronal")),
    ],
)
def test_one_of_several_series_is_named(refuse, order, study, key, given, by):
    refusal = refuse(key, *order(study), *given)
    option = refusal.take(r"one with (--series) by its number, its UID, or a part of its description")
    number, description = refusal.take(r"(\d): CT (\w+)[^\n]*, usable")
    uid = str(pydicom.dcmread(next(study.glob("b*"))).SeriesInstanceUID)
    refusal.works(option, {"number": number, "uid": uid, "description": description}[by])


def test_none_of_several_series_is_regular(refuse, order, tmp_path):
    for number in (1, 2):
        gap = {"SeriesNumber": number, "edit": lambda index, _: index != 2}
        make_series(tmp_path / "study", (7, 4, 4), prefix=str(number), seed=number, **gap)
    refusal = refuse("scans/dicom/picker.py _pick NoUsableSeries", *order(tmp_path / "study"))
    resample, series = refusal.take(r"Give (--resample) with (--series)")
    refusal.works(resample, series, refusal.take(r"(\d): CT"))


def test_none_of_several_series_is_a_volume(refuse, command, order, tmp_path):
    for number in (1, 2):
        localizer = {"SeriesNumber": number, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        make_series(tmp_path / "study", prefix=str(number), seed=number, **localizer)
    refusal = refuse("scans/dicom/picker.py _pick NoUsableSeries", *order(tmp_path / "study"))
    refusal.asks("Give a folder with a series of CT, MR or PET slices")
    assert command(*order(make_series(tmp_path / "scan").path))[0] == 0


# --- archives ---


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_a_member(path):
    content = bytearray(path.read_bytes())
    content[5000:5050] = bytes(50)
    path.write_bytes(content)


ARCHIVES = [
    ("scans/dicom/archive.py _zip_file TruncatedFile", cut),
    ("scans/dicom/archive.py _read TruncatedFile", damage_a_member),
]


@pytest.mark.parametrize(("key", "spoil"), ARCHIVES)
def test_an_archive_is_copied_again(refuse, order, tmp_path, key, spoil):
    packed = zip_of(make_series(tmp_path / "series", (3, 100, 100)).path, tmp_path / "a.zip")
    content = packed.read_bytes()
    spoil(packed)
    refusal = refuse(key, *order(packed)).asks("Copy or download it again")
    packed.write_bytes(content)
    refusal.works()


def test_an_unsafe_archive_is_unpacked_by_hand(refuse, command, order, tmp_path):
    packed = zip_of(make_series(tmp_path / "series").path, tmp_path / "a.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../evil.dcm", b"x")
    refuse("scans/dicom/archive.py _unsafe UnsafeArchive", *order(packed)).asks("Unpack it", "give the folder")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")  # which keeps members within the folder
    assert command(*order(tmp_path / "unpacked"))[0] == 0


# --- permissions, and what is written ---


def test_permissions_of_a_folder_are_given(refuse, order, tmp_path, closed):
    series = make_series(tmp_path / "study" / "series")
    closed.add(series.path)
    refusal = refuse("scans/paths.py unreadable MissingFile", *order(tmp_path / "study"))
    closed.clear()
    refusal.asks("Change its permissions").works()


def test_permissions_that_are_lost_while_a_file_is_read(refuse_call, tmp_path):
    from sautomed.scans.dicom.damage import translate_errors

    def read(permitted):
        with translate_errors(tmp_path, "a.dcm", "has a header that cannot be read"):
            if not permitted:
                raise PermissionError(13, "Permission denied")

    refusal = refuse_call("scans/dicom/damage.py translate_errors MissingFile", read, False)
    refusal.asks("Change its permissions").works(True)


def test_label_maps_of_other_scans_are_written_as_nifti(refuse_call, tmp_path):
    from sautomed.scans import read_labels

    array = np.zeros((8, 8, 4), np.uint8)
    array[2:5, 2:5] = 1
    labels = read_labels(write(tmp_path / "a.nii.gz", array))
    key = "scans/dicom/derived/references.py _no_source NoDicomSource"
    refusal = refuse_call(key, labels.save, tmp_path / "out.seg.dcm")
    refusal.works(tmp_path / ("out" + refusal.take(r"ends in (\.nii\.gz)")))


def test_a_file_that_reads_back_differently_is_written_as_nifti(refuse_call, tmp_path, monkeypatch):
    from sautomed.scans import read_labels, read_scan
    from sautomed.scans.dicom.derived import references, seg

    scan = read_scan(make_series(tmp_path / "series", (4, 8, 8)).path)
    labels = read_labels(write(tmp_path / "a.nii.gz", np.ones((8, 8, 4), np.uint8)))
    on_scan = replace(labels, array=np.ones(scan.array.shape, np.uint8), native=scan.native, plane=scan.plane)
    monkeypatch.setattr(
        seg, "require_equal", lambda written, wanted, path: references.require_equal(written + 1, wanted, path)
    )
    key = "scans/dicom/derived/references.py mismatch OutputMismatch"
    refusal = refuse_call(key, on_scan.save, tmp_path / "out.seg.dcm")
    refusal.works(tmp_path / ("out" + refusal.take(r"ends in (\.nii\.gz)")))


def test_segmentations_that_are_no_label_map(refuse, order, tmp_path):
    series = make_series(tmp_path / "ct", (5, 9, 7)).path
    segments = np.zeros((5, 9, 7, 2), np.uint8)
    segments[1:4, 2:5, 1:4] = 1
    path = tmp_path / "a.dcm"

    foreign(series, segments).save_as(path)
    refusal = refuse("scans/dicom/segmentation.py read_stored NotThreeD", *order(path))
    refusal.asks("Save the segments without overlap, or each in a file of its own")
    foreign(series, segments[..., :1]).save_as(path)
    refusal.works()

    foreign(series, segments[..., :1], "FRACTIONAL").save_as(path)
    refusal = refuse("scans/dicom/segmentation.py _open UnsupportedVoxels", *order(path))
    refusal.asks("Export it as a binary segmentation, uncompressed")
    whole = foreign(series, segments[..., :1])
    whole.save_as(path)
    refusal.works()

    moved = pydicom.dcmread(path)
    moved.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[2] += 0.4
    moved.save_as(path)
    refusal = refuse("scans/dicom/segmentation.py _geometry NotAVolume", *order(path))
    refusal.asks("Export it from the series that it was made on")
    whole.save_as(path)
    refusal.works()
