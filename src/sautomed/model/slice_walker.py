"""Models that go from slice to slice with a state; 2D models are the simplest of them.

Three methods. `encode` looks at slices one by one, each slice of a volume once. `share` lets a slice look at its
neighbours. `step` goes along the walk and is the only one that carries a state.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.model.boxes import jitter
from sautomed.model.given import GivenPrompts, gate
from sautomed.model.losses import walk_losses
from sautomed.model.prompt_rows import PromptedRuns
from sautomed.model.segmenter import Segmenter
from sautomed.model.values import (
    Examples,
    Features,
    PredictedSlice,
    SharedFeatures,
    SliceReader,
    SliceState,
    StepOutput,
)
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS


class SliceWalker(Segmenter):
    """A model that goes from slice to slice with a state.

    Attributes:
        computes_given_alike: Whether a step for which nothing is given has every bit of one without prompts; not if an
            engine computes the latter alone.
    """

    computes_given_alike = True

    @abstractmethod
    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        """Encode images in [0, 1], each slice by itself."""

    @abstractmethod
    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        """Let each of n slices look at the one before and the one after it, in anatomical order."""

    @abstractmethod
    def start(self, batch: int) -> SliceState:
        """Return the state before the first slice of a walk."""

    @abstractmethod
    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        """Predict one slice per row of the state; the masks obey what a person gives for the slice."""

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """Run the trunk."""
        return self.encode(images)

    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        """Yield each slice in the order of the walk; memory does not grow with the number of slices."""
        return iter(Walk(self, volume, WALKS[settings.walk](volume.depth), settings.chunk))

    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        runs = self.runs(examples, settings, generator)
        outputs = self.walk_examples(examples, settings, generator, runs)
        return walk_losses(outputs, runs.labels, settings, examples.labels)

    def runs(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> PromptedRuns:
        """Return what the runs of a batch start from, are given and should become; by default a cold start."""
        return PromptedRuns(self.start(len(examples.labels)), None, examples.labels)

    def walk_examples(
        self, examples: Examples, settings: TrainSettings, generator: torch.Generator, runs: PromptedRuns
    ) -> list[StepOutput]:
        """Walk the slices in order, with gradient through all of them.

        Decoder, filter and generator have it everywhere, the trunk as `trunk_gradient` says.

        Boxes pass on as the model's own predictions, detached, with a little noise.
        """
        state, given, outputs = runs.state, runs.given, []
        for features in self.share_examples(examples, settings):
            out = self.step(features, state) if given is None else self.step(features, state, given)
            outputs.append(out)
            state = replace(out.state, boxes=jitter(out.state.boxes, settings.box_jitter, generator))
            given = None
        return outputs

    def share_examples(self, examples: Examples, settings: TrainSettings) -> list[SharedFeatures]:
        """Encode every image once, then let all slices look at their neighbours at once.

        Slices that come alone have no neighbours but themselves: a training that begins with them encodes a third of
        the images and sees more different slices.

        Returns:
            One item per slice, each with a row per example.
        """
        b, n = examples.labels.shape[:2]
        if examples.images.shape[1] == n:
            own = self.encode(examples.images.transpose(0, 1).flatten(0, 1))
            return self.share(own, own, own).split(b)
        slices = self._encode_slices(examples.images, settings.trunk_gradient)
        earlier, here, later = (Features.cat(slices[i : i + n]) for i in range(3))
        up = examples.upward.repeat(n)[:, None, None, None]
        below = Features(torch.where(up, earlier.coarse, later.coarse))
        above = Features(torch.where(up, later.coarse, earlier.coarse))
        return self.share(below, here, above).split(b)

    def _encode_slices(self, images: Float[Tensor, "b n 3 h w"], gradient: str) -> list[Features]:
        """Encode slice by slice; those that `trunk_gradient` leaves out without gradient, which needs most memory."""
        b, n = images.shape[:2]
        first, last = {"target": (n - 3, n), "run": (1, n - 1), "all": (0, n)}[gradient]
        slices = images.transpose(0, 1)
        learning = self.encode(slices[first:last].flatten(0, 1)).split(b)
        if last - first == n:
            return list(learning)
        outer = torch.cat([slices[:first], slices[last:]]).flatten(0, 1)
        with torch.no_grad():
            frozen = self.encode(outer).split(b)
        return [*frozen[:first], *learning, *frozen[first:]]


class PlainSegmenter(SliceWalker):
    """A 2D model: slices know nothing of each other, and the state stays as it is. Needs `encode` and `logits` only."""

    run_slices = 1

    @abstractmethod
    def logits(self, features: Features) -> Float[Tensor, "n k1 h w"]:
        """Predict n slices from their features, at any resolution."""

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        return SharedFeatures(here.coarse, here.coarse, here.fine)

    def share_examples(self, examples: Examples, settings: TrainSettings) -> list[SharedFeatures]:
        """Encode the slices without their neighbours."""
        own = self.encode(examples.images[:, 1:-1].transpose(0, 1).flatten(0, 1))
        return self.share(own, own, own).split(len(examples.labels))

    def start(self, batch: int) -> SliceState:
        return SliceState.unknown(torch.zeros(batch, 0, 1, device=next(self.parameters()).device), self.classes)

    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        logits = self.logits(Features(shared.z, shared.fine))
        if given is None:
            return StepOutput(logits, state)
        return StepOutput(gate(logits, given), state, ungated=logits)
