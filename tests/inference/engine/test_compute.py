"""Which engine computes a network."""

import logging

import pytest
import torch

from sautomed import errors
from sautomed.inference.engine import Computing, computed_network
from sautomed.inference.engine.bf16 import Bf16Walker
from sautomed.inference.engine.walker import OpenVinoWalker

from .test_bf16 import Stack


@pytest.fixture(autouse=True)
def _graphs(graphs, monkeypatch):
    monkeypatch.setattr("sautomed.inference.engine.compute.cache_folder", lambda: graphs)


def compute(network, engine, precision="32"):
    return computed_network(network, engine, precision, 128, "small" * 10)


def test_torch_in_float32_is_the_network_itself(small_model):
    assert compute(small_model, "torch") == (small_model, Computing())


def test_torch_in_bf16(small_model):
    network, computing = compute(small_model, "torch", "bf16")
    assert isinstance(network, Bf16Walker)
    assert computing == Computing("torch", "bf16")


@pytest.mark.parametrize("engine", ["openvino", "auto"])
def test_openvino_where_it_can(small_model, openvino_model, engine):
    network, computing = compute(small_model, engine)
    assert isinstance(network, OpenVinoWalker)
    assert computing == Computing("openvino", "32")


def test_auto_is_torch_where_openvino_is_not_installed(small_model, monkeypatch):
    monkeypatch.setattr("sautomed.inference.engine.openvino.find_spec", lambda name: None)
    assert compute(small_model, "auto") == (small_model, Computing())


def test_auto_is_torch_for_what_openvino_cannot_compute_and_says_so(caplog):
    caplog.set_level(logging.INFO)
    stack = Stack()
    assert compute(stack, "auto") == (stack, Computing())
    assert "only 3D-SAutoMed is converted" in caplog.text
    with pytest.raises(errors.NotConvertible):
        compute(stack, "openvino")


def test_on_another_device_than_the_cpu_auto_is_torch_and_openvino_is_refused():
    there = Stack().to(torch.device("meta"))
    assert compute(there, "auto") == (there, Computing())
    with pytest.raises(errors.UsageError, match="on meta"):
        compute(there, "openvino")
