"""A volume through a model: labels on its own grid, slice by slice."""

import numpy as np
import pytest
import torch

from sautomed.inference.segmenting import segment_slices, segment_volume
from sautomed.inference.view import label_type
from sautomed.scans.grid import NativeGrid, orient
from sautomed.scans.volume import Volume

from ..model.walkers import View

LABELS = {1: "bright", 5: "dark"}


# --- volumes ---


def volume_of(array, affine=None):
    native = NativeGrid(array.shape, np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine)
    turned, placed = orient(array, native, "axial")
    return Volume(turned, placed, native, "axial")


@pytest.fixture
def resolved(small_settings):
    data = small_settings.data.model_copy(update={"plane": "axial", "modality": "other"})
    return small_settings.model_copy(update={"data": data})


def random_volume(shape=(40, 32, 6)):
    return volume_of(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32))


@pytest.mark.parametrize("shape", [(40, 32, 6), (32, 40, 2), (33, 47, 1)])
def test_labels_are_on_the_scans_grid_with_the_data_sets_values(small_model, resolved, shape):
    volume = random_volume(shape)
    labels = segment_volume(small_model, volume, resolved, LABELS)
    assert labels.array.shape == volume.array.shape
    assert labels.to_native().shape == shape
    assert labels.array.dtype == np.uint8
    assert set(np.unique(labels.array)) <= {0, 1, 5}
    assert len(np.unique(labels.array)) > 1
    assert labels.names == LABELS
    assert np.array_equal(labels.affine, volume.affine)


def test_the_class_with_the_highest_logit_wins_at_native_resolution(small_model, resolved):
    """Class k of the network is the k-th smallest value, whichever order the names come in."""
    volume = random_volume()
    from sautomed.inference.intensity import intensity_range, scale_intensity
    from sautomed.inference.resize import SliceFit

    fit = SliceFit(volume.array.shape[1:], volume.spacing_mm[1:], 128)
    scaled = torch.from_numpy(scale_intensity(volume.array, intensity_range(volume.array, resolved.data)))
    view = View(lambda rows: fit.to_network(scaled[rows]), 6, "neighbours")
    logits = {found.index: found.logits for found in small_model.predict(view, resolved.segment)}
    labels = segment_volume(small_model, volume, resolved, {5: "dark", 1: "bright"})
    for t in range(6):
        classes = fit.to_native(logits[t][None])[0].argmax(0).numpy()
        assert np.array_equal(labels.array[t], np.array([0, 1, 5])[classes])


def test_slices_come_one_by_one_in_walk_order_and_make_up_the_volume(small_model, resolved):
    volume = random_volume()
    parts = list(segment_slices(small_model, volume, resolved, LABELS))
    assert [part.index for part in parts] == [3, 4, 2, 5, 1, 0]
    assert [(part.done, part.total) for part in parts] == [(n, 6) for n in range(1, 7)]
    seen = []
    whole = segment_volume(small_model, volume, resolved, LABELS, lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]
    for part in parts:
        assert np.array_equal(whole.array[part.index], part.labels)


def test_values_above_255_need_16_bits(small_model, resolved):
    labels = segment_volume(small_model, random_volume(), resolved, {1: "bright", 300: "far"})
    assert labels.array.dtype == np.uint16
    assert set(np.unique(labels.array)) <= {0, 1, 300}
    assert label_type({255: "last"}) is np.uint8
