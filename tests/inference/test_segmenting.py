"""A volume led through a model: every slice passes the trunk once, memory follows the chunk, labels keep their grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed.config import SegmentSettings
from sautomed.errors import UsageError
from sautomed.inference.segmenting import (
    FeatureStream,
    choose_device,
    label_type,
    predict_slices,
    segment_slices,
    segment_volume,
    with_channels,
)
from sautomed.model.segmenter import Features, SharedFeatures, SliceState, SliceWalker, StepOutput
from sautomed.model.walk_order import WALKS, neighbours
from sautomed.scans.grid import NativeGrid, orient
from sautomed.scans.volume import Volume

WALK_NAMES = tuple(WALKS)
LABELS = {1: "bright", 5: "dark"}


class Recorder(SliceWalker):
    """A network that notes what it is given. An image of slice t holds t / 1000 everywhere, and so do its features."""

    classes = 1

    def __init__(self):
        super().__init__()
        self.encoded, self.shared = [], []
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        coarse = images[:, :, :1, :1] * 1000  # channels hold the slice and its neighbours
        self.encoded.append(coarse[:, 1, 0, 0].round().int().tolist())
        return Features(coarse, (coarse * 2,))

    def share(self, before, here, after):
        trio = [f.coarse[:, 1, 0, 0].round().int().tolist() for f in (before, here, after)]
        self.shared += list(zip(*trio, strict=True))
        return SharedFeatures(here.coarse, here.coarse, here.fine)

    def start(self, batch):
        return SliceState(torch.zeros(batch, 1, 1), torch.zeros(batch, 1, 4), torch.zeros(batch, 1).bool())

    def step(self, shared, state):
        """History is the sum of the slices seen; the logits say so."""
        history = state.history + shared.z[:, 1:2, 0]
        return StepOutput(history[..., None].expand(-1, 2, 1, 1), replace(state, history=history))


def numbered(rows):
    return (torch.tensor(rows) / 1000)[:, None, None].expand(-1, 4, 4)


class View:
    """Slices from a function, as `SliceReader` gives them."""

    def __init__(self, read, depth, channels="repeat"):
        self.read, self.depth, self.channels = read, depth, channels

    def images(self, rows):
        return with_channels(self.read, rows, self.depth, self.channels)


def walk(model, read, depth, channels="repeat", **settings):
    found = predict_slices(model, View(read, depth, channels), SegmentSettings(**settings))
    return {predicted.index: predicted.logits for predicted in found}


def noise(depth, side=128):
    slices = torch.rand(depth, side, side, generator=torch.Generator().manual_seed(depth))
    return lambda rows: slices[rows]


# --- each slice passes the trunk once, and sees its own neighbours ---


@pytest.mark.parametrize("name", WALK_NAMES)
@given(depth=st.integers(1, 40), chunk=st.integers(1, 12))
@hypothesis_settings(max_examples=40, deadline=None)
def test_each_slice_passes_the_trunk_once_in_chunks(name, depth, chunk):
    model = Recorder()
    found = walk(model, numbered, depth, walk=name, chunk=chunk)
    assert sorted(found) == list(range(depth))
    assert sorted(t for batch in model.encoded for t in batch) == list(range(depth))
    assert all(len(batch) == chunk for batch in model.encoded[:-1])


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("channels", ["repeat", "neighbours"])
def test_each_slice_is_shared_with_those_beside_it_in_anatomical_order(name, channels):
    model = Recorder()
    walk(model, numbered, 9, channels, walk=name, chunk=4)
    assert sorted(model.shared, key=lambda trio: trio[1]) == [neighbours(t, 9) for t in range(9)]


@pytest.mark.parametrize("channels", ["repeat", "neighbours"])
def test_the_channels_are_the_slice_or_the_slice_between_its_neighbours(channels):
    class Watch(Recorder):
        def encode(self, images):
            for trio in (images[:, :, 0, 0] * 1000).round().int().tolist():
                t = trio[1]
                assert trio == ([t, t, t] if channels == "repeat" else list(neighbours(t, 7)))
            return super().encode(images)

    assert len(walk(Watch(), numbered, 7, channels, chunk=3)) == 7


def test_the_two_walkers_keep_two_states_that_both_begin_in_the_middle():
    found = walk(Recorder(), numbered, 7, chunk=3)  # the middle is 3
    assert [round(found[t].flatten()[0].item()) for t in range(7)] == [3 + 2 + 1, 3 + 2 + 1, 3 + 2, 3, 7, 12, 18]


def test_features_are_kept_for_a_few_slices_only_however_deep_the_volume():
    """Chunk and neighbours bound what is held: the chunk just read, and three slices for each of two walkers."""
    for depth in (5, 60, 400):
        for name in WALK_NAMES:
            for chunk in (1, 8):
                model, most = Recorder(), 0
                steps = WALKS[name](depth)
                stream = FeatureStream(model, View(numbered, depth), steps, chunk)
                for number, step in enumerate(steps):
                    stream.features([n for t in step.slices for n in neighbours(t, depth)])
                    most = max(most, len(stream.kept))
                    stream.forget(number)
                assert most <= chunk + 6
                assert not stream.kept


def test_kept_features_do_not_hold_the_memory_of_their_chunk():
    steps = WALKS["end_to_end"](20)
    stream = FeatureStream(Recorder(), View(numbered, 20), steps, 8)
    kept = stream.features([19])
    assert kept.coarse.untyped_storage().nbytes() == kept.coarse.nbytes
    assert all(f.coarse.untyped_storage().nbytes() == f.coarse.nbytes for f in stream.kept.values())
    assert all(m.untyped_storage().nbytes() == m.nbytes for f in stream.kept.values() for m in f.fine)


# --- the real network ---


@pytest.mark.parametrize("name", WALK_NAMES)
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_the_chunk_changes_nothing(small_model, name, depth):
    whole = walk(small_model, noise(depth), depth, "neighbours", walk=name, chunk=8)
    for chunk in (1, 3):
        parts = walk(small_model, noise(depth), depth, "neighbours", walk=name, chunk=chunk)
        assert parts.keys() == whole.keys() == set(range(depth))
        for t in whole:
            torch.testing.assert_close(parts[t], whole[t], rtol=1e-4, atol=1e-4)


def plain_walk(model, slices, order, state):
    """One slice after another, one state, everything encoded at once."""
    depth = len(slices)
    f = model.encode(slices[:, None].expand(-1, 3, -1, -1)).split(1)
    for t in order:
        below, here, above = (f[n] for n in neighbours(t, depth))
        out = model.step(model.share(below, here, above), state)
        state = out.state
        yield t, out


@pytest.mark.parametrize("depth", [1, 2, 3, 6, 7])
def test_mid_to_ends_is_two_plain_loops_from_the_middle(small_model, depth):
    slices = torch.rand(depth, 128, 128, generator=torch.Generator().manual_seed(1))
    found = walk(small_model, lambda rows: slices[rows], depth, chunk=4)
    middle = depth // 2
    with torch.inference_mode():
        (_, first), *_ = plain_walk(small_model, slices, [middle], small_model.start(1))
        expected = {middle: first.logits[0]}
        for order in (range(middle + 1, depth), range(middle - 1, -1, -1)):
            expected |= {t: out.logits[0] for t, out in plain_walk(small_model, slices, order, first.state)}
    assert found.keys() == expected.keys()
    for t in expected:
        torch.testing.assert_close(found[t], expected[t], rtol=1e-4, atol=1e-4)


def test_end_to_end_is_one_plain_loop_from_the_top(small_model):
    slices = torch.rand(5, 128, 128, generator=torch.Generator().manual_seed(1))
    found = walk(small_model, lambda rows: slices[rows], 5, walk="end_to_end", chunk=2)
    assert list(found) == [4, 3, 2, 1, 0]
    with torch.inference_mode():
        for t, out in plain_walk(small_model, slices, [4, 3, 2, 1, 0], small_model.start(1)):
            torch.testing.assert_close(found[t], out.logits[0], rtol=1e-4, atol=1e-4)


def test_nothing_is_kept_for_a_gradient(small_model):
    assert not any(logits.requires_grad for logits in walk(small_model, noise(3), 3).values())
    assert torch.is_grad_enabled()


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
    from sautomed.inference.fit import SliceFit
    from sautomed.inference.intensity import intensity_range, scale_intensity

    fit = SliceFit(volume.array.shape[1:], volume.spacing_mm[1:], 128)
    scaled = torch.from_numpy(scale_intensity(volume.array, intensity_range(volume.array, resolved.data)))
    logits = walk(small_model, lambda rows: fit.to_network(scaled[rows]), 6, "neighbours")
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


def test_auto_takes_what_there_is():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cpu2", *([] if torch.cuda.is_available() else ["cuda", "cuda:1"])])
def test_a_device_that_is_not_here_is_a_fault_of_the_command(name):
    with pytest.raises(UsageError, match=f"no device '{name}'") as caught:
        choose_device(name)
    assert caught.value.exit_code == 2
