"""Examining a dataset: each fault is found, and only it; corrected copies are sound, the originals stay as they are."""

import gzip
import json
import shutil

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.datasets.doctor.examine import examine, fix
from sautomed.datasets.doctor.mending import file_names
from sautomed.datasets.rules import LabelRules
from sautomed.inference.preview import thumbnail_png

from ..sick import LABELS, SPACING, Sick, affine, organs, scan


@pytest.fixture
def sick(tmp_path):
    """A sound dataset of five cases, to be spoiled."""
    return Sick(tmp_path / "Dataset001_Sick")


def found(dataset, **given):
    """What is found as (check, severity, case)."""
    return [(f.check, f.severity, f.case) for f in examine(dataset.folder, **given).findings]


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


# --- one fault each: it is found, and nothing else ---


def test_a_sound_dataset_has_no_findings(sick):
    diagnosis = examine(sick.folder, thumbnail=thumbnail_png)
    assert diagnosis.findings == ()
    assert not diagnosis.needs_mending
    diagnosis.require_sound()
    assert [case.id for case in diagnosis.cases] == [f"case_{n}" for n in range(5)]
    assert all(diagnosis.pictures[case.id].startswith(b"\x89PNG") for case in diagnosis.cases)
    assert diagnosis.summary == "5 cases: no errors, no warnings, no notes"


def truncate(sick):
    content = sick.image(2).read_bytes()
    sick.image(2).write_bytes(content[: len(content) // 2])


def shorten_label(sick):
    sick.write_label(2, organs(2)[:, :, :-1])


def shift_label(sick):
    moved = affine()
    moved[0, 3] += SPACING[0]
    sick.write_label(2, organs(2), moved)


def unknown_value(sick):
    sick.write_label(2, changed(organs(2), (20, 20, slice(0, 3)), 7))


def float_label(sick):
    sick.write_label(2, organs(2).astype(np.float32))


def half_label(sick):
    sick.write_label(2, changed(organs(2).astype(np.float32), (20, 20, 5), 0.5))


def empty_label(sick):
    sick.write_label(2, np.zeros_like(organs(2)))


def exchange_kidneys(sick):
    sick.write_label(2, np.array([0, 1, 3, 2, 4], np.uint8)[organs(2)])


def mirror(sick):
    sick.write_image(2, np.ascontiguousarray(scan(2)[::-1]))
    sick.write_label(2, np.ascontiguousarray(organs(2)[::-1]))


def stand_on_head(sick):
    sick.write_image(2, np.ascontiguousarray(scan(2)[:, :, ::-1]))
    sick.write_label(2, np.ascontiguousarray(organs(2)[:, :, ::-1]))


def few_nan(sick):
    sick.write_image(2, changed(scan(2).astype(np.float32), (0, 0, 0), np.nan))


def many_nan(sick):
    sick.write_image(2, changed(scan(2).astype(np.float32), (slice(0, 4), 0), np.nan))


def constant(sick):
    sick.write_image(2, np.full_like(scan(2), 7))


def plus_1024(sick):
    sick.write_image(2, scan(2) + 1024)


def window_255(sick):
    sick.write_image(2, np.clip((scan(2) + 160) * 255 / 400, 0, 255).astype(np.uint8))


def window_1(sick):
    sick.write_image(2, np.clip((scan(2) + 160) / 400, 0, 1).astype(np.float32))


def no_air(sick):
    sick.write_image(2, np.clip(scan(2), -160, 240))


def padding(sick):
    sick.write_image(2, changed(scan(2), (0, slice(None), 0), -8000))


def turned_sform(sick):
    angle = np.radians(5)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    sick.write_image(2, scan(2), affine(), sform=turn @ affine())
    sick.write_label(2, organs(2), turn @ affine())


def plain_named_gz(sick):
    sick.image(2).write_bytes(gzip.decompress(sick.image(2).read_bytes()))


def other_spacing(sick):
    matrix = affine((8.0, 8.0, 4.0))  # whose field of view is smaller too, by less than what counts
    sick.write_image(2, scan(2), matrix @ np.diag([1, 1, 0.8, 1]))
    sick.write_label(2, organs(2), matrix @ np.diag([1, 1, 0.8, 1]))


def no_label(sick):
    sick.label(2).unlink()


def no_image(sick):
    sick.image(2).unlink()


def second_channel(sick):
    shutil.copy(sick.image(2), sick.image(2).with_name("case_2_0001.nii.gz"))


def small_spleen(sick):
    labels = organs(2)
    labels[labels == 4] = 0
    labels[6, 10, 8] = 4
    sick.write_label(2, labels)


def copied_scan(sick):
    shutil.copy(sick.image(1), sick.image(2))


def copied_label(sick):
    shutil.copy(sick.label(1), sick.label(2))


FAULTS = {
    truncate: ("readable", "error", "case_2"),
    shorten_label: ("grids", "error", "case_2"),
    shift_label: ("grids", "error", "case_2"),
    unknown_value: ("label values", "error", "case_2"),
    half_label: ("label values", "error", "case_2"),
    float_label: ("label type", "note", "case_2"),
    empty_label: ("empty", "warning", "case_2"),
    exchange_kidneys: ("orientation", "error", "case_2"),
    mirror: ("orientation", "error", "case_2"),
    stand_on_head: ("orientation", "error", "case_2"),
    few_nan: ("finite", "warning", "case_2"),
    many_nan: ("finite", "error", "case_2"),
    constant: ("constant", "error", "case_2"),
    plus_1024: ("intensities", "error", "case_2"),
    window_255: ("intensities", "error", "case_2"),
    window_1: ("intensities", "error", "case_2"),
    no_air: ("intensities", "warning", "case_2"),
    padding: ("intensities", "warning", "case_2"),
    turned_sform: ("header", "warning", "case_2"),
    plain_named_gz: ("file name", "warning", "case_2"),
    other_spacing: ("unlike", "warning", "case_2"),
    no_label: ("pairs", "error", ""),
    no_image: ("pairs", "error", ""),
    second_channel: ("extra files", "warning", ""),
    small_spleen: ("volumes", "warning", "case_2"),
    copied_scan: ("duplicates", "error", "case_1"),
    copied_label: ("duplicates", "warning", "case_1"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_found_alone_and_its_copy_is_sound(sick, fault, tmp_path):
    fault(sick)
    before = sick.files()
    diagnosis = examine(sick.folder)
    assert [(f.check, f.severity, f.case) for f in diagnosis.findings] == [FAULTS[fault]]
    mended = fix(diagnosis, tmp_path / "mended")
    assert sick.files() == before
    again = examine(tmp_path / "mended")
    assert not again.needs_mending, again.findings
    assert {case.id for case in again.cases} == set(mended.changes)
    assert not set(mended.changes) & set(mended.left_out)
    if diagnosis.findings[0].fixable:
        assert again.findings == ()
    assert json.loads((tmp_path / "mended" / "mended.json").read_text())["left_out"] == dict(mended.left_out)


# --- what is said ---


def only(sick, **given):
    (finding,) = examine(sick.folder, **given).findings
    return finding


def test_texts_name_numbers_places_and_flags(sick):
    shorten_label(sick)
    finding = only(sick)
    for words in ("40 x 32 x 12", "40 x 32 x 11", "8 x 8 x 10 mm", "RAS", "different shapes"):
        assert words in finding.text
    assert "--regrid-labels" in finding.cure
    assert finding.fixable
    assert finding.error_id == errors.GridMismatch.id


def test_an_unknown_value_is_told_with_its_voxels_and_the_flags(sick):
    unknown_value(sick)
    finding = only(sick)
    assert "7 (3 voxels)" in finding.text
    assert "1 liver" in finding.text
    assert "--map 7=" in finding.cure
    assert "--ignore 7" in finding.cure


def test_exchanged_kidneys_and_a_mirrored_scan_are_told_apart(sick):
    exchange_kidneys(sick)
    finding = only(sick)
    assert "exchanged" in finding.text
    assert "left_kidney lies" in finding.text
    assert "--map 3=2 --map 2=3" in finding.cure
    mirror(sick)
    finding = only(sick)
    assert "disagree left to right" in finding.text
    assert "spleen lies" in finding.text
    stand_on_head(sick)
    assert "disagree down to up" in only(sick).text


def test_a_twin_is_told_with_the_fold_it_leaks_into(sick):
    copied_scan(sick)
    text = only(sick).text
    assert "case_1, case_2 are the same scan" in text
    assert "different label maps" in text
    assert "one trains and another validates" in text


def test_require_sound_says_how_many_and_what(sick):
    truncate(sick)
    diagnosis = examine(sick.folder)
    with pytest.raises(errors.NeedsMending, match=r"1 findings in 1 of 5 cases.*readable.*--fix") as caught:
        diagnosis.require_sound()
    assert caught.value.exit_code == 3


def test_hounsfield_units_under_another_name_are_noticed(tmp_path):
    sick = Sick(tmp_path / "data")
    sick.describe("T2")
    assert set(found(sick)) == {("intensities", "warning", f"case_{n}") for n in range(5)}


def test_arbitrary_units_are_no_finding(tmp_path):
    assert found(Sick(tmp_path / "data", channel="T2")) == []


# --- the dataset as a whole ---


def test_a_class_that_never_occurs_is_an_error_and_leaves_the_copy(tmp_path):
    sick = Sick(tmp_path / "data", labels={**LABELS, "pancreas": 5})
    diagnosis = examine(sick.folder)
    (finding,) = diagnosis.findings
    assert (finding.check, finding.severity, finding.case) == ("classes", "error", "")
    assert "5 pancreas" in finding.text
    assert fix(diagnosis, tmp_path / "mended").dropped_labels == {5: "pancreas"}
    assert json.loads((tmp_path / "mended" / "dataset.json").read_text())["labels"] == {"background": 0, **LABELS}


def test_a_class_in_one_case_only_is_missing_where_that_case_validates(sick):
    for number in range(4):
        labels = organs(number)
        labels[labels == 4] = 0
        sick.write_label(number, labels)
    findings = examine(sick.folder).findings
    assert [(f.check, f.severity) for f in findings] == [("folds", "warning"), ("folds", "note")]
    assert all("4 spleen" in f.text for f in findings)


def test_a_dataset_without_label_maps(sick):
    shutil.rmtree(sick.folder / "labelsTr")
    assert found(sick) == [("pairs", "error", "")]


def test_a_dataset_that_cannot_be_described_is_refused(tmp_path):
    with pytest.raises(errors.MissingFile):
        examine(tmp_path / "nothing")
    with pytest.raises(errors.UnknownLayout):
        examine(tmp_path)


# --- rules ---


def test_rules_are_examined_and_written(sick, tmp_path):
    unknown_value(sick)
    exchange_kidneys_everywhere = LabelRules(ignore=frozenset({7}))
    assert found(sick, rules=exchange_kidneys_everywhere) == []
    mended = fix(examine(sick.folder), tmp_path / "mended", LabelRules(map={7: 1}))
    assert not mended.left_out
    written = np.asarray(nibabel.load(tmp_path / "mended" / "labelsTr" / "case_2.nii.gz").dataobj)
    expected = changed(organs(2), (20, 20, slice(0, 3)), 1)
    np.testing.assert_array_equal(written, expected)
    assert "3 voxels" in " ".join(mended.changes["case_2"])
    assert mended.changes["case_1"] == ()


def test_a_copy_keeps_voxels_and_places(sick, tmp_path):
    float_label(sick)
    few_nan(sick)
    plain = sick.image(0).read_bytes()
    fix(examine(sick.folder), tmp_path / "mended")
    assert (tmp_path / "mended" / "imagesTr" / "case_0_0000.nii.gz").read_bytes() == plain
    image = nibabel.load(tmp_path / "mended" / "imagesTr" / "case_2_0000.nii.gz")
    np.testing.assert_allclose(image.affine, affine())
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)
    before, after = scan(2), np.asarray(image.dataobj)
    assert after[0, 0, 0] == before.min()
    after[0, 0, 0] = before[0, 0, 0]
    np.testing.assert_array_equal(after, before)
    label = nibabel.load(tmp_path / "mended" / "labelsTr" / "case_2.nii.gz")
    assert label.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(label.dataobj), organs(2))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=8))
def test_any_case_ids_get_file_names_of_their_own(ids):
    names = file_names(ids)
    assert list(names) == ids
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all(name and not set(name) & set('/\\:*?"<>| ') for name in names.values())


# --- where it writes ---


def test_only_a_new_folder_outside_the_dataset_is_written(sick, tmp_path):
    diagnosis = examine(sick.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    for target in (tmp_path / "full", tmp_path / "full" / "mine.txt", sick.folder / "mended", sick.folder):
        with pytest.raises(errors.TargetExists, match="--fix"):
            fix(diagnosis, target)
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    fix(diagnosis, tmp_path / "empty")
    assert (tmp_path / "empty" / "dataset.json").exists()


def test_nothing_is_left_where_nothing_can_be_mended(tmp_path):
    sick = Sick(tmp_path / "data", count=1)
    sick.write_image(0, np.full_like(scan(0), 7))
    with pytest.raises(errors.NoCases, match="constant"):
        fix(examine(sick.folder), tmp_path / "mended")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interrupted_copy_leaves_nothing(sick, tmp_path):
    diagnosis = examine(sick.folder)

    def stop(done, total, case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fix(diagnosis, tmp_path / "mended", on_case=stop)
    assert [path.name for path in tmp_path.iterdir()] == [sick.folder.name]


# --- real scans ---


@pytest.mark.slow
def test_real_scans_are_sound(shared_data):
    diagnosis = examine(shared_data / "Dataset001_CHAOST2")
    assert len(diagnosis.cases) == 15
    assert diagnosis.findings == ()
