"""Graphs of OpenVINO are kept, and made again when anything is different."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from sautomed import errors
from sautomed.inference.engine.graph import GraphMaker, cache_folder

MODEL = "0123456789abcdef" * 4


class Verb(nn.Module):
    """Two outputs by name, one of them from an input that the other does not see."""

    def __init__(self):
        super().__init__()
        self.product = nn.Linear(4, 4)

    def forward(self, tensors):
        return {"b": self.product(tensors["x"]), "a": 2 * tensors["unrelated"]}


class Wide(nn.Module):
    """A megabyte of weights."""

    def __init__(self):
        super().__init__()
        self.product = nn.Linear(512, 512)

    def forward(self, tensors):
        return {"y": self.product(tensors["x"])}


class Branching(Verb):
    def forward(self, tensors):
        return {"y": tensors["x"] + 1} if tensors["x"].sum() > 0 else {"y": tensors["x"]}


@pytest.fixture
def made():
    """Verbs that were made."""
    return []


@pytest.fixture
def make(made):
    def make_verb():
        torch.manual_seed(0)
        made.append(Verb().eval())
        return made[-1], {"x": torch.zeros(1, 4), "unrelated": torch.zeros(1, 2)}

    return make_verb


@pytest.fixture
def maker(tmp_path):
    def make_maker(precision="32", model=MODEL, size=64):
        return GraphMaker(precision, model, size, tmp_path / "graphs")

    return make_maker


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "graphs").rglob("*") if path.is_file())


def numbers():
    return {"unrelated": torch.tensor([[1.0, 2.0]]), "x": torch.tensor([[1.0, -2.0, 3.0, 0.5]])}


def test_named_tensors_go_in_and_come_out(maker, make, made):
    found, exact = maker().graph("verb", make)(numbers()), made[0](numbers())
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        torch.testing.assert_close(found[name], value.detach())


def test_a_kept_graph_is_read_and_gives_the_same_numbers(maker, make, made, tmp_path):
    first = maker().graph("verb", make)(numbers())
    second = maker().graph("verb", make)(numbers())
    assert len(made) == len(files(tmp_path)) == 1
    assert all(torch.equal(first[name], second[name]) for name in ("a", "b"))


@pytest.mark.parametrize("other", [{"model": MODEL[::-1]}, {"size": 96}, {"precision": "bf16"}])
def test_another_model_size_or_precision_has_another_graph(maker, make, made, tmp_path, other):
    if "precision" in other and "BF16" not in maker().core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")
    maker().graph("verb", make)
    maker(**other).graph("verb", make)
    assert len(made) == len(files(tmp_path)) == 2


def test_other_code_of_networks_has_another_graph(maker, make, made, monkeypatch):
    maker().graph("verb", make)
    monkeypatch.setattr("sautomed.inference.engine.graph._code_of_networks", lambda: "of a later release")
    maker().graph("verb", make)
    assert len(made) == 2


@pytest.mark.parametrize("spoil", [lambda whole: b"", lambda whole: b"nothing", lambda whole: whole[: len(whole) // 2]])
def test_a_damaged_graph_is_made_again(maker, make, made, tmp_path, caplog, spoil):
    maker().graph("verb", make)
    (kept,) = (tmp_path / "graphs").rglob("*.blob")
    kept.write_bytes(spoil(kept.read_bytes()))
    graph = maker().graph("verb", make)
    assert len(made) == 2
    assert "is made again" in caplog.text
    torch.testing.assert_close(graph(numbers())["b"], made[0](numbers())["b"].detach())


def test_where_nothing_can_be_written_it_is_made_all_the_same(maker, make, tmp_path, caplog):
    (tmp_path / "graphs").write_text("a file in the way")
    assert maker().graph("verb", make)(numbers())["a"].tolist() == [[2.0, 4.0]]
    assert "not kept" in caplog.text


def test_a_model_without_a_folder_keeps_none(maker, make, tmp_path):
    maker(model=None).graph("verb", make)
    assert not (tmp_path / "graphs").exists()


def test_what_cannot_be_exported_is_refused_by_name(maker, caplog):
    caplog.set_level(logging.CRITICAL, "torch")
    with pytest.raises(errors.NotConvertible, match=r"its verb cannot be exported.*--engine torch"):
        maker().graph("verb", lambda: (Branching().eval(), {"x": torch.zeros(1, 4)}))


def test_the_precision_is_always_set(maker, make):
    compiled = maker()._compiled("verb", *make())
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()


def test_the_folder_is_below_that_of_the_users_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sautomed" / "openvino"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-3:] == (".cache", "sautomed", "openvino")


def test_a_kept_graph_holds_its_weights_itself(maker):
    """Its file was read into memory that is free again, and that something else may take."""
    torch.manual_seed(0)
    wide, example = Wide().eval(), {"x": torch.ones(1, 512)}
    maker().graph("verb", lambda: (wide, example))
    kept = maker().graph("verb", lambda: pytest.fail("none was kept"))
    taken = [np.full(2**19, np.nan, np.float32) for _ in range(8)]
    torch.testing.assert_close(kept(example)["y"], wide(example)["y"].detach())
    assert np.isnan(taken[0]).all()


def test_what_has_no_part_in_the_graph_is_refused(maker):
    class PassesOn(Verb):
        def forward(self, tensors):
            return {"y": tensors["x"]}

    with pytest.raises(errors.NotConvertible):
        maker().graph("verb", lambda: (PassesOn().eval(), {"x": torch.zeros(1, 4), "unrelated": torch.zeros(1, 2)}))
