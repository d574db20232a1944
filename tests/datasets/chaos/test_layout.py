"""CHAOS: DICOM series with labels as pictures, whose order is verified against the scan."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sautomed import errors
from sautomed.datasets import read_dataset

from ..miniatures import CHAOS, make_patient, save_series, write_chaos_mr, write_miniature


@pytest.fixture
def place(tmp_path):
    """One patient, T2-SPIR and both phases of T1."""
    write_miniature("chaos-t2spir", tmp_path, ["7"])
    return tmp_path / "Train_Sets" / "MR" / "7"


@pytest.fixture
def ground(place):
    return place / "T2SPIR" / "Ground"


def load(place, layout="chaos-t2spir"):
    dataset = read_dataset(place.parent, layout)
    return dataset.load(dataset.cases[0], "axial")


def pictures(folder):
    """In the order of their numbers."""
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def replace(folder, arrays):
    for path, array in zip(sorted(folder.glob("*.png")), arrays, strict=True):
        Image.fromarray(np.ascontiguousarray(array)).save(path)


def refused(kind, words, place, layout="chaos-t2spir"):
    with pytest.raises(kind, match=words) as caught:
        load(place, layout)
    assert caught.value.exit_code == 3
    assert caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda stack: [picture[::-1] for picture in stack], "flipped upside down"),
        (lambda stack: [picture[:, ::-1] for picture in stack], "flipped left to right"),
        (lambda stack: [picture[::-1, ::-1] for picture in stack], "turned by 180 degrees"),
        (lambda stack: stack[::-1], "in reversed order"),
        (lambda stack: [stack[i] for i in np.random.default_rng(3).permutation(len(stack))], "another order than"),
    ],
)
def test_pictures_that_do_not_lie_on_their_slices_are_refused(ground, place, wrong, words):
    replace(ground, wrong(pictures(ground)))
    fault = refused(errors.PictureOrder, words, place)
    assert fault.id == "SAM-E0323"
    assert str(ground) in str(fault)


def test_numbers_that_run_against_the_slices_are_corrected_with_a_warning(ground, place):
    _, right = load(place)
    for number, path in enumerate(sorted(ground.glob("*.png"), reverse=True)):
        path.rename(ground / f"liver_GT_{number:03d}.png")
    volume, labels = load(place)
    np.testing.assert_array_equal(labels.array, right.array)
    assert any("run against those of the slices" in note for note in volume.warnings)


def test_numbers_that_run_with_the_slices_need_no_names(ground, place):
    _, right = load(place)
    for number, path in enumerate(sorted(ground.glob("*.png"))):
        path.rename(ground / f"picture {number}.png")
    volume, labels = load(place)
    np.testing.assert_array_equal(labels.array, right.array)
    assert volume.warnings == ()


def test_labels_that_follow_no_edge_are_read_with_a_warning(ground, place):
    """A square in the same place of every picture fits any order."""
    square = np.zeros((64, 80), np.uint8)
    square[2:9, 2:9] = 63
    replace(ground, [square] * 12)
    volume, labels = load(place)
    assert set(labels.voxel_counts()) == {0, 1}
    assert any("could not be verified" in note for note in volume.warnings)


def test_a_case_without_any_organ_is_a_case(ground, place):
    replace(ground, [np.zeros((64, 80), np.uint8)] * 12)
    volume, labels = load(place)
    assert (labels.array.any(), volume.warnings) == (False, ())


@pytest.mark.parametrize("lost", ["picture", "slice"])
def test_another_number_of_pictures_than_slices_is_refused(ground, place, lost):
    next((ground if lost == "picture" else place / "T2SPIR" / "DICOM_anon").iterdir()).unlink()
    if lost == "picture":
        refused(errors.PictureOrder, "11 label pictures, but the series has 12 slices", place)
    else:
        refused((errors.PictureOrder, errors.UnevenGaps), "has 11 slices|uneven distances", place)


def test_gray_values_that_mean_no_organ_are_counted(ground, place):
    stack = [picture.copy() for picture in pictures(ground)]
    stack[3][0, :5], stack[4][0, 0] = 90, 30
    replace(ground, stack)
    fault = refused(errors.UnknownLabels, r"30 \(1 pixels\), 90 \(5 pixels\), the first in IMG-0002-00005", place)
    assert "56 to 70 liver" in fault.fault


@pytest.mark.parametrize("shift", [-4, 4])
def test_gray_values_near_the_usual_ones_mean_the_same(ground, place, shift):
    before = load(place)[1].array
    replace(
        ground, [np.where((p > 0) & (p < 250), p.astype(int) + shift, p).astype(np.uint8) for p in pictures(ground)]
    )
    np.testing.assert_array_equal(load(place)[1].array, before)


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "I;16"])
def test_gray_pictures_in_other_modes_are_read(ground, place, mode):
    before = load(place)[1].array
    for path in ground.glob("*.png"):
        picture = Image.open(path)
        (Image.fromarray(np.asarray(picture, np.uint16)) if mode == "I;16" else picture.convert(mode)).save(path)
    np.testing.assert_array_equal(load(place)[1].array, before)


def test_coloured_damaged_and_misshapen_pictures_are_refused(ground, place):
    first = sorted(ground.glob("*.png"))[0]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)).save(first)
    refused(errors.UnsupportedVoxels, "coloured", place)
    Image.new("L", (80, 63)).save(first)
    refused(errors.GridMismatch, "63 x 80 pixels, but its slice 64 x 80", place)
    first.write_bytes(first.read_bytes()[:60])
    refused((errors.TruncatedFile, errors.GridMismatch), "picture|pixels", place)
    first.write_text("no picture")
    refused(errors.TruncatedFile, "no picture that can be read", place)


# --- the folders of T1 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_as", ["phase within DICOM_anon", "DICOM_anon within phase", "phase alone", "flat"])
def test_both_phases_of_t1_are_found_however_they_are_kept(tmp_path, kept_as):
    patient = make_patient(CHAOS, 0)
    write_chaos_mr(tmp_path, {"7": patient}, flat=kept_as == "flat")
    dual = tmp_path / "Train_Sets" / "MR" / "7" / "T1DUAL"
    for phase in ("InPhase", "OutPhase"):
        if kept_as == "DICOM_anon within phase":
            (dual / phase).mkdir()
            (dual / "DICOM_anon" / phase).rename(dual / phase / "DICOM_anon")
        elif kept_as == "phase alone":
            (dual / "DICOM_anon" / phase).rename(dual / phase)
    for sequence in ("t1in", "t1out"):
        volume, labels = load(dual.parent, f"chaos-{sequence}")
        np.testing.assert_array_equal(volume.array, patient.mr(sequence))
        np.testing.assert_array_equal(labels.array > 0, patient.labels(CHAOS) > 0)


def test_phases_that_cannot_be_told_apart_are_refused(tmp_path):
    patient = make_patient(CHAOS, 0)
    write_chaos_mr(tmp_path, {"7": patient})
    anon = tmp_path / "Train_Sets" / "MR" / "7" / "T1DUAL" / "DICOM_anon"
    shutil.rmtree(anon)
    save_series(anon, patient.mr("t1in"))
    refused(errors.SeveralSeries, "both phases of T1, but has 0 echo times", anon.parents[1], "chaos-t1in")


# --- the dataset ------------------------------------------------------------------------------------------------------


def test_all_sequences_of_a_patient_are_one_group(tmp_path):
    write_miniature("chaos-mr", tmp_path, ["2", "10"])
    dataset = read_dataset(tmp_path, "chaos-mr")
    assert [case.id for case in dataset.cases] == ["2_t2spir", "2_t1in", "2_t1out", "10_t2spir", "10_t1in", "10_t1out"]
    assert dataset.groups["10_t1out"] == "10"
    assert dataset.channel == "MR"


def test_patients_are_in_the_order_of_their_numbers(tmp_path):
    write_miniature("chaos-t2spir", tmp_path, ["10", "2"])
    assert [case.id for case in read_dataset(tmp_path).cases] == ["2", "10"]


def test_a_patient_without_pictures_is_named(tmp_path):
    write_miniature("chaos-t2spir", tmp_path, ["1", "2"])
    shutil.rmtree(tmp_path / "Train_Sets" / "MR" / "2" / "T2SPIR" / "Ground")
    with pytest.raises(errors.UnpairedFiles, match="1 of 2 cases have no label pictures in Ground: 2"):
        read_dataset(tmp_path)


def test_test_sets_without_labels_are_scans_alone(tmp_path):
    write_miniature("chaos-t2spir", tmp_path, ["1"])
    shutil.rmtree(tmp_path / "Train_Sets" / "MR" / "1" / "T2SPIR" / "Ground")
    dataset = read_dataset(tmp_path)
    assert dataset.cases[0].label is None
    assert dataset.read_image(dataset.cases[0]).array.shape == (12, 64, 80)
    with pytest.raises(errors.UnpairedFiles, match="has no label map"):
        dataset.load(dataset.cases[0])


def test_a_sequence_that_no_patient_has_is_refused(tmp_path):
    write_miniature("chaos-t2spir", tmp_path, ["1"])
    shutil.rmtree(tmp_path / "Train_Sets" / "MR" / "1" / "T1DUAL")
    with pytest.raises(errors.NoCases, match="no patient has t1in"):
        read_dataset(tmp_path, "chaos-t1in")
    (case,) = read_dataset(tmp_path, "chaos-mr").cases
    assert case.id == "1_t2spir"
