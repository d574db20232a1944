"""A network in bf16, computed by PyTorch.

Products are in bf16, and what needs more digits stays in float32, as PyTorch's autocast decides. Everything that
leaves the network is float32 again, so whatever uses it is the same in both precisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.config import SegmentSettings
from sautomed.inference.engine.wrapped import WrappedSegmenter, WrappedWalker
from sautomed.model.given import GivenPrompts
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Features, PredictedSlice, SharedFeatures, SliceReader, SliceState, StepOutput

T = TypeVar("T")


def in_bf16(network: Segmenter) -> Segmenter:
    """Return the network in bf16; the weights stay as they are."""
    return Bf16Walker(network) if isinstance(network, SliceWalker) else Bf16Segmenter(network)


def without_bf16(network: Segmenter) -> Segmenter:
    """Return the network that `in_bf16` was given."""
    return network.network if isinstance(network, (Bf16Walker, Bf16Segmenter)) else network


class Bf16Walker(WrappedWalker):
    """A network that goes from slice to slice, in bf16."""

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        with _bf16(images.device):
            return _in_float32(self.network.encode(images))

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        with _bf16(here.coarse.device):
            return _in_float32(self.network.share(before, here, after))

    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        with _bf16(shared.z.device):
            return _in_float32(self.network.step(shared, state, given))


class Bf16Segmenter(WrappedSegmenter):
    """Any other network, in bf16."""

    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        device, slices = next(self.parameters()).device, self.network.predict(volume, settings)
        while True:
            with _bf16(device):  # not around the yield: what the caller computes meanwhile is not meant
                predicted = next(slices, None)
            if predicted is None:
                return
            yield _in_float32(predicted)


def _bf16(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def _in_float32(value: T) -> T:
    """Return a tensor, or a dataclass or tuple of such, with all fractions in float32."""
    return cast(T, _converted(value))


def _converted(value: object) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(_converted(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _converted(getattr(value, f.name)) for f in fields(value)})
    return value
