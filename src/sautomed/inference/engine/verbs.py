"""The verbs of 3D-SAutoMed as functions of named tensors, which can be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from torch import Tensor, nn

from sautomed.model.sautomed import SAutoMed
from sautomed.model.values import Features, SharedFeatures, SliceState, StepOutput

Named = dict[str, Tensor]
_STATE = tuple(f.name for f in fields(SliceState))
_OUTPUTS = ("logits", "boxes", "presence", "pixels")  # of a step, besides the state after it


class Encode(nn.Module):
    """From images to coarse, fine.0, fine.1, ..."""

    def __init__(self, network: SAutoMed):
        super().__init__()
        self.network = network

    def forward(self, tensors: Named) -> Named:
        features = self.network.encode(tensors["images"])
        return {"coarse": features.coarse, **_named_fine(features.fine)}


class Share(nn.Module):
    """From before, here and after to z; f and the finer maps are those that go in."""

    def __init__(self, network: SAutoMed):
        super().__init__()
        self.network = network

    def forward(self, tensors: Named) -> Named:
        before, here, after = (Features(tensors[name]) for name in ("before", "here", "after"))
        return {"z": self.network.share(before, here, after).z}


class Step(nn.Module):
    """From z, f, fine.0, ... and the state to logits, boxes, presence, pixels, after.history, after.boxes, ...

    What the network does not give, and what it leaves of the state as it was, is missing.
    """

    def __init__(self, network: SAutoMed):
        super().__init__()
        self.network = network

    def forward(self, tensors: Named) -> Named:
        shared = SharedFeatures(tensors["z"], tensors["f"], fine_of(tensors))
        out = self.network.step(shared, SliceState(**{name: tensors[name] for name in _STATE}))
        found = {name: getattr(out, name) for name in _OUTPUTS}
        after = {name: getattr(out.state, name) for name in _STATE}
        changed = {f"after.{name}": x for name, x in after.items() if x is not tensors[name]}
        return {name: x for name, x in (found | changed).items() if x is not None}


def features_of(found: Mapping[str, Tensor]) -> Features:
    """Return what `Encode` gives as features."""
    return Features(found["coarse"], fine_of(found))


def named_step(shared: SharedFeatures, state: SliceState) -> Named:
    """Return what goes into a step by name."""
    return {"z": shared.z, "f": shared.f, **_named_fine(shared.fine), **{n: getattr(state, n) for n in _STATE}}


def step_of(found: Mapping[str, Tensor], before: SliceState) -> StepOutput:
    """Return what `Step` gives as the output of a step."""
    after = SliceState(**{name: found.get(f"after.{name}", getattr(before, name)) for name in _STATE})
    return StepOutput(found["logits"], after, found.get("boxes"), found.get("presence"), pixels=found.get("pixels"))


def fine_of(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the finer maps, coarsest first."""
    return tuple(tensors[f"fine.{i}"] for i in range(sum(name.startswith("fine.") for name in tensors)))


def _named_fine(fine: tuple[Tensor, ...]) -> Named:
    return {f"fine.{i}": x for i, x in enumerate(fine)}
