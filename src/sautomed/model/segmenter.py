"""The interface of every model: predict volumes, give the losses of a batch, run the part that needs most memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.values import Examples, PredictedSlice, SliceReader


class Segmenter(nn.Module, ABC):
    """A model that the training loop and the inference loop can drive.

    `SliceWalker` is the base of models that go from slice to slice, `PlainSegmenter` of 2D models, `StackSegmenter` of
    models of many slices at once.

    Attributes:
        classes: Number of organs, without the background.
        pretrained: Source of the frozen part, which a model folder names and does not hold; None without one.
        makes_prompts: Whether it makes boxes of its own that prompt each slice.
        prompts: Prompts that a person, or the truth in their place, must give for each organ.
        run_slices: Consecutive slices of a training example; None draws their number anew for every batch.
        overhang: Slices by which such an example may reach past either end of a volume; the edge slice is repeated.
    """

    classes: int
    pretrained: PretrainedTrunk | None = None
    makes_prompts: bool = False
    prompts: Literal["none", "box", "points"] = "none"
    run_slices: int | None = None
    overhang: int = 0

    @abstractmethod
    def predict(self, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
        """Yield each slice of a volume once, in the model's own order; without gradient.

        Raises:
            PromptsNeeded: The model is prompted from the truth, and the volume has none.
        """

    @abstractmethod
    def losses(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `loss`, which is minimised, and its parts by name; all are logged.

        Where several processes train together, the batch is the rows of all of them: ratios of sums over the batch,
        conditions on it and random numbers for its rows go by `across_ranks`.

        Args:
            generator: Of everything random in a step; on all processes in the same state.
        Raises:
            UsageError: The model cannot be trained.
        """

    @abstractmethod
    def run_heaviest_part(self, images: Float[Tensor, "n 3 s s"]) -> object:
        """Do the part of the work that needs most memory, for n slices; its result lives until they are done."""

    def start_from_mean_boxes(self, mean_boxes: Callable[[], Float[Tensor, "k 4"]]) -> None:
        """Start from each class's mean box in the training slices (xyxy in [0, 1]); by default not needed.

        Args:
            mean_boxes: Computes them, which reads all training labels.
        """
