"""Memory predicted from the header; benchmarks/memory.py compares it with measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.inference import memory
from sautomed.inference.memory import TrunkCost, choose_chunk, predict, trunk_cost
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features
from sautomed.scans import Geometry
from sautomed.scans.grid import NativeGrid

COST = TrunkCost(fixed=1_000_000, per_slice=50_000_000, features=2_000_000)
MB = 10**6


def header(shape=(64, 64, 20), dtype=np.int16):
    return Geometry(Path("scan.nii"), "NIfTI-1", NativeGrid(shape, np.diag([2.0, 2.0, 5.0, 1.0])), np.dtype(dtype))


def test_the_trunk_is_counted(model):
    cost = trunk_cost(model.network, 128)
    features = model.network.encode(torch.zeros(1, 3, 128, 128))
    assert cost.features == sum(m.numel() * m.element_size() for m in (features.coarse, *features.fine))
    assert cost.per_slice >= cost.features
    assert trunk_cost(model.network, 256).per_slice == pytest.approx(4 * cost.per_slice, rel=0.05)


def test_a_large_trunk_is_counted_alike_without_running_it(model, monkeypatch):
    expected, devices = trunk_cost(model.network, 128), []
    monkeypatch.setattr(memory, "LIGHT", 0)
    encode = model.network.encode
    monkeypatch.setattr(model.network, "encode", lambda images: [devices.append(images.device.type), encode(images)][1])
    assert trunk_cost(model.network, 128) == expected
    assert set(devices) == {"meta"}


def test_windows_of_a_volume_are_never_run_to_be_counted():
    """A network of 3D windows may be small, but takes minutes and gigabytes for one."""
    devices = []

    class Windows(Segmenter):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def run_heaviest_part(self, images):
            devices.append(self.scale.device.type)
            return images * self.scale

        def predict(self, volume, settings):
            raise NotImplementedError

        def losses(self, examples, settings, generator):
            raise NotImplementedError

    trunk_cost(Windows(), 128)
    assert set(devices) == {"meta"}


def test_the_count_is_of_tensors_that_exist_at_one_time():
    """Ten layers of 1 MB each, one after the other: an input and an output at a time, not ten."""

    class Deep(PlainSegmenter):
        def logits(self, features):
            raise NotImplementedError

        def encode(self, images):
            for _ in range(10):
                images = images * 2
            return Features(images)

    cost = trunk_cost(Deep(), 256)
    assert cost.per_slice == 2 * 3 * 256 * 256 * 4


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 300)] * 3),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]),
    chunk=st.integers(1, 16),
)
def test_a_larger_scan_and_a_larger_chunk_never_need_less(model, shape, dtype, chunk):
    need = predict(header(shape, dtype), model, COST, chunk, 0)
    taller = predict(header((shape[0], shape[1], shape[2] + 1), dtype), model, COST, chunk, 0)
    assert taller.peak >= need.peak
    assert predict(header(shape, dtype), model, COST, chunk + 1, 0).peak >= need.peak
    assert need.peak >= 4 * np.prod(shape)


def test_memory_held_already_counts(model):
    assert predict(header(), model, COST, 1, 500 * MB).peak == predict(header(), model, COST, 1, 0).peak + 500 * MB


def test_on_a_gpu_the_trunk_needs_no_main_memory(model):
    on_gpu = replace_device(model, torch.device("cuda"))
    assert predict(header(), on_gpu, COST, 8, 0).segmenting < predict(header(), model, COST, 8, 0).segmenting - 300 * MB


def replace_device(model, device):
    import copy

    twin = copy.copy(model)
    twin.device = device
    return twin


def test_the_largest_chunk_that_fits_is_chosen(model, monkeypatch):
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    peaks = {chunk: predict(header(), model, COST, chunk, 0).peak for chunk in (8, 4, 2, 1)}
    for chunk, peak in peaks.items():
        chosen, need = choose_chunk(header(), model, COST, peak / memory.GB)
        assert (chosen, need.peak) == (chunk, peak)


def test_a_scan_that_cannot_fit_is_refused_with_both_numbers_and_the_cure(model, monkeypatch):
    monkeypatch.setattr(memory, "resident_bytes", lambda: 0)
    least = predict(header(), model, COST, 1, 0).peak
    with pytest.raises(errors.MemoryShortage) as caught:
        choose_chunk(header(), model, COST, 0.01)
    message = str(caught.value)
    assert caught.value.exit_code == 5
    for words in (
        "scan.nii",
        "64 x 64 x 20",
        f"{least / memory.GB:.2f} GB",
        "--max-ram allows 0.01 GB",
        "Give --max-ram",
    ):
        assert words in message
    allowed = float(message.split("Give --max-ram ")[1].split()[0])
    assert choose_chunk(header(), model, COST, allowed)[0] == 1


def test_without_a_limit_the_machine_sets_it(model, monkeypatch):
    assert choose_chunk(header(), model, COST)[0] == 8
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 * MB)
    with pytest.raises(errors.MemoryShortage, match=r"there are 0\.01 GB.*Close other programs"):
        choose_chunk(header(), model, COST)


def test_memory_of_the_process_and_the_machine_is_measured():
    assert 10 * MB < memory.resident_bytes() <= memory.available_bytes()
    memory.reset_peak()
    before = memory.peak_bytes()
    block = np.ones(500 * MB, np.uint8)  # the system may take other pages away meanwhile
    assert memory.peak_bytes() >= before + 60 * MB
    del block


def test_a_thin_volume_needs_no_more_than_its_slices(model):
    one = header((64, 64, 1))
    assert predict(one, model, COST, 8, 0).segmenting == predict(one, model, COST, 1, 0).segmenting
    assert replace(one, dtype=np.dtype(np.float64)).dtype.itemsize == 8
