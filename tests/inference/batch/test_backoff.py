"""What is tried when memory runs out while segmenting."""

import logging

import numpy as np
import pytest
import torch

from sautomed import errors
from sautomed.inference.batch.backoff import attempts, segment_with_backoff
from sautomed.inference.model import Model, with_chunk

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CPU_FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")
CUDA_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")


def test_attempts_halve_the_slices_and_end_on_the_cpu():
    assert attempts(CPU, 8) == [(CPU, 8), (CPU, 4), (CPU, 2), (CPU, 1)]
    assert attempts(CUDA, 3) == [(CUDA, 3), (CUDA, 1), (CPU, 3), (CPU, 1)]
    assert attempts(CPU, 1) == [(CPU, 1)]


@pytest.fixture
def volume(model, write, tmp_path):
    return model.read(write(tmp_path / "large.nii.gz"))


@pytest.fixture
def full_above(model, monkeypatch):
    """A trunk that takes only a limited number of slices at a time."""

    def limit(most, fault):
        encode = model.network.encode

        def encode_few(images):
            if len(images) > most:
                raise fault
            return encode(images)

        monkeypatch.setattr(model.network, "encode", encode_few)

    return limit


@pytest.mark.parametrize("fault", [MemoryError(), CUDA_FULL, CPU_FULL])
def test_fewer_slices_at_a_time_are_tried_and_reported(model, volume, full_above, caplog, fault):
    expected = model.segment(volume).array
    full_above(2, fault)
    with caplog.at_level(logging.WARNING):
        found = segment_with_backoff(model, volume)
    assert (found.chunk, found.device, len(found.notes)) == (2, CPU, 2)
    assert np.array_equal(found.labels.array, expected)
    assert "large.nii.gz: 8 slices at a time on cpu ran out of memory" in found.notes[0]
    assert "trying 4 on cpu" in found.notes[0]
    assert list(found.notes) == [record.message for record in caplog.records]
    assert model.settings.segment.chunk == 8


def test_the_cpu_is_the_last_to_be_tried(model, volume, monkeypatch):
    """A GPU that takes not even one slice; it is a stand-in, so that this runs everywhere."""
    slices, tried = Model.slices, []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_: self)

    def slices_here(self, volume):
        tried.append((self.device.type, self.settings.segment.chunk))
        if self.device.type == "cuda":
            raise CUDA_FULL
        return slices(self, volume)

    monkeypatch.setattr(Model, "slices", slices_here)
    on_gpu = with_chunk(model, 2, CUDA)
    found = segment_with_backoff(on_gpu, volume)
    assert tried == [("cuda", 2), ("cuda", 1), ("cpu", 2)]
    assert (found.device, len(found.notes)) == (CPU, 2)
    assert "(CUDA out of memory. Tried to allocate 2.00 GiB.); trying 2 on cpu." in found.notes[1]


def test_if_no_attempt_succeeds_the_scan_is_named(model, volume, full_above):
    full_above(0, CPU_FULL)
    with pytest.raises(errors.MemoryShortage, match=r"large\.nii\.gz: needs more memory") as caught:
        segment_with_backoff(model, volume)
    assert caught.value.exit_code == 5


def test_any_other_error_is_not_mistaken_for_a_shortage_of_memory(model, volume, full_above):
    full_above(0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        segment_with_backoff(model, volume)


def test_the_report_lists_the_failed_attempts(run, write, full_above, tmp_path):
    import json

    full_above(4, CUDA_FULL)
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["chunk"] == 4
    assert "ran out of memory" in report["warnings"][0]
