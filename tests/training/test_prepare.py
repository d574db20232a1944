"""Cases on disk, resized and scaled once."""

import os

import numpy as np
import pytest
import torch

from sautomed.config import DataSettings
from sautomed.datasets import read_dataset
from sautomed.errors import UnknownLabels
from sautomed.inference.percentiles import percentiles_of
from sautomed.inference.resize import consecutive
from sautomed.training.prepare import mean_boxes, prepare, resolve_data


@pytest.fixture(scope="module")
def dataset(dataset_folder):
    return read_dataset(dataset_folder)


@pytest.fixture(scope="module")
def data(dataset):
    return resolve_data(dataset, DataSettings(image_size="auto", auto_size=(128, 256)))


def test_nothing_is_left_open(data):
    # 40 x 32 voxels of 2 mm and slices of 5 mm: axial, and fewer pixels than the smallest size
    assert (data.plane, data.image_size, data.modality) == ("axial", 128, "other")


def test_what_the_settings_say_is_not_overruled(dataset):
    data = resolve_data(dataset, DataSettings(image_size=256, plane="sagittal", modality="ct"))
    assert (data.plane, data.image_size, data.modality) == ("sagittal", 256, "ct")


def test_a_case_becomes_slices_of_the_network_with_classes_without_gaps(dataset, data, tmp_path):
    (case,) = prepare(dataset, dataset.cases[:1], data, tmp_path)
    assert case.images.shape == case.labels.shape == (6, 128, 128)
    assert case.images.dtype == np.float16
    assert 0 <= case.images.min() < case.images.max() <= 1
    assert set(np.unique(case.labels)) == {0, 1, 2}
    assert case.presence.tolist() == [[k in s for k in (1, 2)] for s in case.labels]


@pytest.mark.parametrize("modality", ["ct", "other"])
def test_the_intensities_of_a_case_are_those_of_the_scan(dataset, data, tmp_path, modality):
    settings = data.model_copy(update={"modality": modality})
    (case,) = prepare(dataset, dataset.cases[:1], settings, tmp_path)
    assert case.intensities == percentiles_of(dataset.read_image(dataset.cases[0], "axial").array, modality)


def test_the_patients_right_is_on_the_left_of_the_slice(dataset, data, tmp_path):
    """Label 1 lies on the patient's right in every case; a radiologist sees it on the left."""
    (case,) = prepare(dataset, dataset.cases[:1], data, tmp_path)
    columns = [np.nonzero(case.labels[3] == k)[1].mean() for k in (1, 2)]
    assert columns[0] < 64 < columns[1]


def test_a_second_call_reads_what_the_first_wrote_and_other_settings_write_anew(dataset, data, tmp_path):
    (case,) = prepare(dataset, dataset.cases[:1], data, tmp_path)
    stamp = (case.folder / f"{case.id}.image.npy").stat().st_mtime_ns
    (again,) = prepare(dataset, dataset.cases[:1], data, tmp_path)
    assert (again.folder / f"{case.id}.image.npy").stat().st_mtime_ns == stamp
    (other,) = prepare(dataset, dataset.cases[:1], data.model_copy(update={"image_size": 144}), tmp_path)
    assert other.folder != case.folder


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_case_that_changed_is_prepared_anew_in_its_own_place_and_no_other(dataset, data, tmp_path, kind):
    first, second = prepare(dataset, dataset.cases[:2], data, tmp_path)
    before = [stamps_of(case) for case in (first, second)]
    source = getattr(dataset.cases[0], kind)
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 10**9))
    assert prepare(dataset, dataset.cases[:2], data, tmp_path) == [first, second]
    assert stamps_of(second) == before[1]
    assert all(now > then for now, then in zip(stamps_of(first), before[0], strict=True))


def test_a_case_that_was_left_half_prepared_is_prepared_anew(dataset, data, tmp_path, monkeypatch):
    (case,) = prepare(dataset, dataset.cases[:1], data, tmp_path)
    source = dataset.cases[0].image
    as_it_was = source.stat().st_mtime_ns
    os.utime(source, ns=(0, as_it_was + 10**9))
    with monkeypatch.context() as patched:
        patched.setattr(np, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(dataset, dataset.cases[:1], data, tmp_path)
    os.utime(source, ns=(0, as_it_was))
    before = stamps_of(case)
    prepare(dataset, dataset.cases[:1], data, tmp_path)
    assert all(now > then for now, then in zip(stamps_of(case), before, strict=True))


def stamps_of(case):
    return [(case.folder / f"{case.id}.{name}.npy").stat().st_mtime_ns for name in ("image", "labels", "presence")]


def test_progress_is_reported(dataset, data, tmp_path):
    reported = []
    prepare(dataset, dataset.cases[:2], data, tmp_path, lambda *seen: reported.append(seen))
    assert reported == [(1, 2, "block_0"), (2, 2, "block_1")]


def test_values_become_consecutive_and_strangers_are_refused():
    assert consecutive(np.array([[0, 7, 3]]), [3, 7], "a").tolist() == [[0, 2, 1]]
    with pytest.raises(UnknownLabels, match=r"a: label values \[5\]"):
        consecutive(np.array([[0, 5]]), [3, 7], "a")


def test_mean_boxes_are_over_the_slices_that_show_the_class(dataset, data, tmp_path):
    cases = prepare(dataset, dataset.cases[:1], data, tmp_path)
    boxes = mean_boxes(cases, classes=3)
    rows, columns = np.nonzero(cases[0].labels[3] == 1)
    expected = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 128
    assert torch.allclose(boxes[0], expected.float(), atol=0.01)
    assert boxes[2].tolist() == [0.25, 0.25, 0.75, 0.75]  # a class that is nowhere
