"""A network behind another way to compute it; to everything else it is still that network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.model.given import GivenPrompts
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import (
    Examples,
    Features,
    PredictedSlice,
    SharedFeatures,
    SliceReader,
    SliceState,
    StepOutput,
)


class WrappedSegmenter(Segmenter):
    """A network as it is; subclasses compute it in another way."""

    def __init__(self, network: Segmenter):
        super().__init__()
        self.network = network
        _introduce_as(self, network)

    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        return self.network.predict(volume, settings)

    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        return self.network.losses(examples, settings, generator)

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> object:
        return self.network.run_heaviest_part(images)


class WrappedWalker(SliceWalker):
    """A network that goes from slice to slice, as it is; subclasses compute some of its verbs in another way."""

    def __init__(self, network: SliceWalker):
        super().__init__()
        self.network = network
        _introduce_as(self, network)

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        return self.network.encode(images)

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        return self.network.share(before, here, after)

    def start(self, batch: int) -> SliceState:
        return self.network.start(batch)

    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        return self.network.step(shared, state, given)

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        return self.network.run_heaviest_part(images)


def _introduce_as(wrapper: Segmenter, network: Segmenter) -> None:
    """Give a wrapper what others know its network by."""
    wrapper.classes, wrapper.pretrained = network.classes, network.pretrained
    wrapper.makes_prompts, wrapper.prompts = network.makes_prompts, network.prompts
    wrapper.run_slices, wrapper.overhang = network.run_slices, network.overhang
    wrapper.train(network.training)
