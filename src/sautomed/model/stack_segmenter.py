"""Models of a stack of consecutive slices; a volume is covered by overlapping stacks."""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import zip_longest

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.model.losses import stack_losses
from sautomed.model.segmenter import Segmenter
from sautomed.model.values import Examples, PredictedSlice, SliceReader


class StackSegmenter(Segmenter):
    """A model that labels all slices of a stack at once; where stacks overlap, their softmax is averaged.

    Args:
        slices: Of a stack.
        stride: Slices from one stack to the next in a volume.
    """

    def __init__(self, classes: int, slices: int, stride: int, overhang: int = 0):
        super().__init__()
        self.classes, self.slices, self.stride, self.overhang = classes, slices, stride, overhang
        self.run_slices = slices

    @abstractmethod
    def forward(self, images: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n k1 h2 w2"]:
        """Return logits of every slice of a stack in anatomical order; images in [0, 1]."""

    def in_training(self, images: Float[Tensor, "b n 3 h w"]) -> list[Float[Tensor, "b _ k1 _ _"]]:
        """Return the outputs that have a loss, most important first; more than one with deep supervision.

        Each may have fewer slices and pixels than the labels, which are then shrunk to it.
        """
        return [self(images)]

    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> Tensor:
        """Predict a whole stack, however many slices are asked for."""
        return self(images[:1].expand(self.slices, -1, -1, -1)[None])

    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        return stack_losses(self.in_training(examples.images[:, 1:-1]), examples.labels, settings)

    @torch.inference_mode()
    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        """Yield the slices from the first to the last, each with the mean softmax of the stacks that hold it."""
        sums: dict[int, Tensor] = {}
        starts = stack_starts(volume.depth, self.slices, self.stride, self.overhang)
        for start, following in zip_longest(starts, starts[1:], fillvalue=volume.depth):
            rows = [min(max(t, 0), volume.depth - 1) for t in range(start, start + self.slices)]
            probabilities = self(volume.images(rows)[None])[0].float().softmax(1)
            for t, probability in enumerate(probabilities, start=start):
                if 0 <= t < volume.depth:
                    sums[t] = sums[t] + probability if t in sums else probability
            for t in sorted(t for t in sums if t < following):
                total = sums.pop(t)
                # Where a probability is 0 its logarithm would be no number after interpolation.
                yield PredictedSlice(t, (total / total.sum(0)).clamp(min=torch.finfo(total.dtype).tiny).log())


def stack_starts(depth: int, slices: int, stride: int, overhang: int) -> list[int]:
    """Return the first slices of the stacks that cover a volume; negative where a stack begins before it.

    A volume with fewer slices than a stack lies in the middle of one.
    """
    first, last = -overhang, depth - slices + overhang
    if last <= first:
        return [(depth - slices) // 2]
    starts = list(range(first, last, stride))
    return [*starts, last]
