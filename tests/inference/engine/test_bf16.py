"""A network in bf16: its numbers are near, and whatever uses it notices nothing else."""

from types import SimpleNamespace

import pytest
import torch

from sautomed.config import SegmentSettings
from sautomed.inference.engine.bf16 import in_bf16
from sautomed.model.given import GivenPrompts
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.stack_segmenter import StackSegmenter

VOLUME = SimpleNamespace(
    depth=4, images=lambda rows: torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))[list(rows)]
)


class Stack(StackSegmenter):
    """Labels two slices at once by one product."""

    def __init__(self):
        super().__init__(1, 2, 1)
        self.weight = torch.nn.Linear(128, 128)

    def forward(self, images):
        return self.weight(images[:, :, :2])


def predicted(network):
    return {part.index: part for part in network.predict(VOLUME, SegmentSettings(chunk=2))}


@pytest.fixture(params=["walker", "stack"])
def network(request, small_model):
    torch.manual_seed(0)
    return small_model if request.param == "walker" else Stack().eval()


def test_predictions_are_near_those_in_float32_and_are_float32(network):
    exact, found = predicted(network), predicted(in_bf16(network))
    assert exact.keys() == found.keys()
    for t, part in found.items():
        assert part.logits.dtype == torch.float32
        error = (part.logits - exact[t].logits).abs().max() / exact[t].logits.abs().max()
        assert 0 < error < 0.05


def test_between_slices_everything_computes_as_ever(network):
    for _ in in_bf16(network).predict(VOLUME, SegmentSettings(chunk=2)):
        assert not torch.is_autocast_enabled("cpu")
        assert (torch.eye(2) @ torch.eye(2)).dtype == torch.float32


def test_it_is_known_by_the_same_facts(small_model):
    walker, stack = in_bf16(small_model), in_bf16(Stack())
    assert isinstance(walker, SliceWalker)
    assert isinstance(stack, Segmenter)
    assert (walker.classes, walker.makes_prompts, walker.prompts) == (2, True, "none")
    assert (stack.classes, stack.run_slices) == (1, 2)
    assert not walker.training


def test_what_is_given_is_obeyed(small_model):
    walker = in_bf16(small_model)
    features = walker.encode(VOLUME.images([0]))
    shared = walker.share(features, features, features)
    out = walker.step(shared, walker.start(1), GivenPrompts.nothing(2, (32, 32)).not_here(0))
    assert not (out.logits.argmax(1) == 1).any()
    assert {x.dtype for x in (out.logits, out.ungated, out.state.history, out.state.boxes)} == {torch.float32}
