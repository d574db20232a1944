"""Which engine computes a network."""

import logging

import numpy as np
import pytest
import torch

import sautomed
from sautomed import errors
from sautomed.inference.engine import FLOAT32, Computing, computed_network
from sautomed.inference.engine.bf16 import Bf16Walker
from sautomed.inference.engine.walker import OpenVinoWalker
from sautomed.inference.model import with_chunk

from ..conftest import blocks
from .test_bf16 import Stack


def compute(network, engine, precision="32", key=None):
    return computed_network(network, engine, precision, 128, key)


def test_torch_in_float32_is_the_network_itself(network):
    assert compute(network, "torch") == (network, FLOAT32)


def test_torch_in_bf16(network):
    found, computing = compute(network, "torch", "bf16")
    assert isinstance(found, Bf16Walker)
    assert computing == Computing("torch", "bf16")


def test_auto_is_openvino_where_it_can(network, model, kept_graphs):
    found, computing = compute(network, "auto", key=model.sha256)
    assert isinstance(found, OpenVinoWalker)
    assert computing == Computing("openvino", "32")


def test_auto_is_torch_where_openvino_is_not_installed(network, monkeypatch):
    monkeypatch.setattr("sautomed.inference.engine.openvino.find_spec", lambda name: None)
    assert compute(network, "auto") == (network, FLOAT32)


def test_auto_is_torch_for_what_openvino_cannot_compute_and_says_so(caplog):
    caplog.set_level(logging.INFO)
    stack = Stack()
    assert compute(stack, "auto") == (stack, FLOAT32)
    assert "only 3D-SAutoMed is converted" in caplog.text
    with pytest.raises(errors.NotConvertible):
        compute(stack, "openvino")


def test_on_another_device_than_the_cpu_auto_is_torch_and_openvino_is_refused():
    there = Stack().to(torch.device("meta"))
    assert compute(there, "auto") == (there, FLOAT32)
    with pytest.raises(errors.UsageError, match="on meta"):
        compute(there, "openvino")


def test_a_model_gives_the_same_labels_and_keeps_its_graphs(model, folder, caches, tmp_path):
    from ...conftest import write_scan

    exact = sautomed.load(folder, device="cpu")
    assert (exact.computing, model.computing) == (FLOAT32, Computing("openvino", "32"))
    volume = model.read(write_scan(tmp_path / "a.nii.gz", blocks()))
    labels, found = (each.segment(volume).array for each in (exact, with_chunk(model, 3)))
    assert len(np.unique(labels)) > 1
    assert (labels != found).sum() <= 1e-4 * (labels > 0).sum()
    graphs = sorted(caches.rglob("*.blob"))
    assert [path.name.partition("-")[0] for path in graphs] == ["encode", "share", "step"]
    assert {path.parent.name for path in graphs} == {model.sha256[:16]}
    assert len(list(model.walk(volume))) == 6
