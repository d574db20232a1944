"""What is tried when memory runs out while segmenting."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from sautomed import errors
from sautomed.inference.batch.backoff import attempts, segment_with_backoff
from sautomed.inference.engine import FLOAT32, Computing
from sautomed.inference.engine.bf16 import Bf16Walker, in_bf16
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


@pytest.fixture
def full_gpu(monkeypatch):
    """A GPU that takes not even one slice, as a stand-in, so that this runs everywhere; returns what was tried."""
    slices, tried = Model.slices, []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_: self)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)

    def slices_here(self, volume):
        tried.append(self)
        if self.device.type == "cuda":
            raise CUDA_FULL
        return slices(self, volume)

    monkeypatch.setattr(Model, "slices", slices_here)
    return tried


@pytest.fixture
def bf16_on_gpu(model, full_gpu):
    """The model in bf16 on that GPU."""
    bundle = replace(model.bundle, network=in_bf16(model.network))
    return with_chunk(Model(bundle, CUDA, model.folder, Computing(precision="bf16"), model.sha256), 1)


def test_the_cpu_is_the_last_to_be_tried(model, volume, full_gpu):
    found = segment_with_backoff(with_chunk(model, 2, CUDA), volume)
    tried = [(attempt.device.type, attempt.settings.segment.chunk) for attempt in full_gpu]
    assert tried == [("cuda", 2), ("cuda", 1), ("cpu", 2)]
    assert (found.device, len(found.notes)) == (CPU, 2)
    assert "(CUDA out of memory. Tried to allocate 2.00 GiB.); trying 2 on cpu." in found.notes[1]


def test_a_cpu_that_would_emulate_bf16_goes_on_in_float32_and_says_so(model, volume, bf16_on_gpu, full_gpu, caplog):
    found = segment_with_backoff(bf16_on_gpu, volume)
    assert [isinstance(attempt.network, Bf16Walker) for attempt in full_gpu] == [True, False]
    assert (found.device, found.model.computing) == (CPU, FLOAT32)
    assert "trying 1 on cpu in float32, as it does not compute in bf16." in caplog.text
    assert np.array_equal(found.labels.array, model.segment(volume).array)


def test_a_cpu_that_computes_in_bf16_goes_on_in_it(volume, bf16_on_gpu, full_gpu, bf16_processor):
    found = segment_with_backoff(bf16_on_gpu, volume)
    assert [isinstance(attempt.network, Bf16Walker) for attempt in full_gpu] == [True, True]
    assert found.model.computing == Computing(precision="bf16")
    assert found.notes[0].endswith("trying 1 on cpu.")


def test_a_result_names_the_precision_that_it_fell_back_to_and_counts_as_done(
    run, write, model, bf16_on_gpu, full_gpu, tmp_path
):
    def run_it():
        return run(scan, tmp_path / "out", model=bf16_on_gpu, report=True, resume=True)

    scan = write(tmp_path / "a.nii.gz")
    run_it()
    report, prompts = (json.loads((tmp_path / "out" / f"a.{end}").read_text()) for end in ("json", "prompts.json"))
    assert (report["settings"]["precision"], report["device"], prompts["precision"]) == ("32", "cpu", "32")
    assert report["fell_back_from"] == {"engine": "torch", "precision": "bf16"}
    assert "in float32" in report["warnings"][0]
    tried = len(full_gpu)
    assert run_it().skipped
    assert run(scan, tmp_path / "out", model=model, report=True, resume=True).skipped  # in float32 by name, as it is
    assert len(full_gpu) == tried


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
    full_above(4, CUDA_FULL)
    run(write(tmp_path / "a.nii.gz"), tmp_path / "out", report=True)
    report = json.loads((tmp_path / "out" / "a.json").read_text())
    assert report["chunk"] == 4
    assert "ran out of memory" in report["warnings"][0]
