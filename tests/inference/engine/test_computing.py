"""What precision is chosen, and what is refused."""

import pytest
import torch

from sautomed import errors
from sautomed.inference.engine import Computing, choose_precision, computes_bf16

CPU = torch.device("cpu")


def choose(wanted, checked):
    return choose_precision(wanted, CPU, checked)


def test_auto_is_bf16_only_where_the_processor_computes_in_it_and_the_model_was_checked(bf16_processor, monkeypatch):
    assert computes_bf16(CPU)
    assert (choose("auto", True), choose("auto", False)) == ("bf16", "32")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False}, raising=False)
    assert not computes_bf16(CPU)
    assert choose("auto", True) == "32"


def test_amx_counts_too(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert computes_bf16(CPU)


def test_an_older_pytorch_that_knows_no_capabilities_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_bf16(CPU)


def test_what_is_asked_for_is_taken_whether_or_not_the_model_was_checked(bf16_processor):
    assert (choose("32", True), choose("bf16", False)) == ("32", "bf16")


def test_bf16_that_would_be_emulated_is_refused():
    with pytest.raises(errors.UsageError, match=r"does not compute in bf16.*auto or 32"):
        choose("bf16", True)


def test_a_computing_is_shown_by_name():
    assert str(Computing()) == "PyTorch in float32"
    assert str(Computing("openvino", "bf16")) == "OpenVINO in bf16"
