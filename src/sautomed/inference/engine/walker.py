"""3D-SAutoMed with OpenVINO's graphs in place of its verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.inference.engine.graph import GraphMaker
from sautomed.inference.engine.verbs import Encode, Named, Share, Step, features_of, named_step, step_of
from sautomed.inference.engine.wrapped import WrappedWalker
from sautomed.model.given import GivenPrompts
from sautomed.model.sautomed import SAutoMed
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Features, SharedFeatures, SliceState, StepOutput


class OpenVinoWalker(WrappedWalker):
    """3D-SAutoMed, computed by OpenVINO one slice at a time, so that each verb is one graph, whatever the walk.

    Steps for which a person gives something are PyTorch's: what they do depends on what is given.

    Args:
        network: On the CPU, in evaluation mode.
        given: The same in the precision of the graphs, for these steps.
        maker: Of the graphs.
    Raises:
        NotConvertible: The network cannot be exported.
    """

    computes_given_alike = False

    def __init__(self, network: SAutoMed, given: SliceWalker, maker: GraphMaker):
        super().__init__(given)
        self._size = maker.size
        self._encode = maker.graph("encode", lambda: (Encode(network), self._images()))
        self._share = maker.graph("share", lambda: (Share(network), self._neighbours()))
        self._step = maker.graph("step", lambda: (Step(network), self._after_first_step(network)))

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        return Features.cat([features_of(self._encode({"images": image})) for image in images.split(1)])

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        trios = zip(before.coarse.split(1), here.coarse.split(1), after.coarse.split(1), strict=True)
        z = [self._share({"before": first, "here": middle, "after": last})["z"] for first, middle, last in trios]
        return SharedFeatures(torch.cat(z), here.coarse, here.fine)

    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        if given is not None:
            return self.network.step(shared, state, given)
        state = self._grown(state)
        rows = [(features, state.take([row])) for row, features in enumerate(shared.split(1))]
        return _joined([step_of(self._step(named_step(features, before)), before) for features, before in rows])

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        return Features.cat([self.network.run_heaviest_part(image) for image in images.split(1)])

    def _grown(self, state: SliceState) -> SliceState:
        """Return the state with maps of the graph's size: before the first slice they are one pixel, zero."""
        h, w = self._step.sizes["masks"][-2:]
        return replace(state, masks=state.masks.expand(-1, -1, h, w), carried=state.carried.expand(-1, -1, h, w))

    # --- tensors of the sizes that the graphs are for ---

    def _images(self) -> Named:
        return {"images": torch.zeros(1, 3, self._size, self._size)}

    def _neighbours(self) -> Named:
        return dict.fromkeys(("before", "here", "after"), self.encode(self._images()["images"]).coarse)

    @torch.no_grad()
    def _after_first_step(self, network: SAutoMed) -> Named:
        features = self.encode(self._images()["images"])
        shared = self.share(features, features, features)
        return named_step(shared, network.step(shared, network.start(1)).state)


def _joined(rows: Sequence[StepOutput]) -> StepOutput:
    """Join the outputs of single slices."""

    def cat(name: str, dim: int = 0) -> Tensor | None:
        parts = [getattr(row, name) for row in rows]
        return None if parts[0] is None else torch.cat(parts, dim)

    return StepOutput(
        torch.cat([row.logits for row in rows]),
        SliceState.cat([row.state for row in rows]),
        cat("boxes", 1),
        cat("presence"),
        pixels=cat("pixels"),
    )
