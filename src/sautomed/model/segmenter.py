"""What every model of this package is: three verbs and the small values that pass between them.

`encode` looks at slices one by one, each slice of a volume once. `share` lets a slice look at its neighbours.
`step` goes along the walk, from one slice to the next, and is the only one that carries a state.
A 2D model shares nothing and returns its state unchanged; one training and one inference loop serve all.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Features:
    """What is known of n slices: the trunk's map, and finer maps (finest last) if the trunk has them."""

    coarse: Float[Tensor, "n c h w"]
    fine: tuple[Float[Tensor, "n c2 h2 w2"], ...] = ()

    def split(self, rows: int) -> list["Features"]:
        """Parts of so many slices each."""
        maps = (self.coarse, *self.fine)
        return [Features(coarse, tuple(fine)) for coarse, *fine in zip(*(m.split(rows) for m in maps), strict=True)]

    @staticmethod
    def cat(parts: Sequence["Features"]) -> "Features":
        return Features(
            torch.cat([p.coarse for p in parts]),
            tuple(torch.cat(maps) for maps in zip(*(p.fine for p in parts), strict=True)),
        )


@dataclass(frozen=True)
class SharedFeatures:
    """Features after the slice attention: z for the decoder, f kept for a generator that reads it."""

    z: Float[Tensor, "n c h w"]
    f: Float[Tensor, "n c h w"]
    fine: tuple[Float[Tensor, "n c2 h2 w2"], ...] = ()

    def split(self, rows: int) -> list["SharedFeatures"]:
        """Parts of so many slices each."""
        maps = (self.z, self.f, *self.fine)
        return [SharedFeatures(z, f, tuple(rest)) for z, f, *rest in zip(*(m.split(rows) for m in maps), strict=True)]


@dataclass(frozen=True)
class SliceState:
    """What earlier slices taught: plain tensors, one row per walker; replace a field to edit it.

    Attributes:
        history: History tokens (Eq. 3).
        boxes: Each class's box on the previous slice, xyxy in [0, 1]; zeros where absent (Eq. 4).
        present: Whether class k was on the previous slice; all False before the first.
    """

    history: Float[Tensor, "b tokens c"]
    boxes: Float[Tensor, "b k 4"]
    present: Bool[Tensor, "b k"]

    def take(self, rows: Sequence[int]) -> "SliceState":
        index = torch.as_tensor(rows, device=self.boxes.device)
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class StepOutput:
    """One step of the walk.

    Attributes:
        logits: Before softmax; channel 0 is the background.
        state: For the next slice.
        boxes: The generator's boxes after each of its layers, xyxy in [0, 1]; none without a generator.
        presence: Logit of "class k is in this slice"; none without a generator.
    """

    logits: Float[Tensor, "b k+1 h w"]
    state: SliceState
    boxes: Float[Tensor, "layers b k 4"] | None = None
    presence: Float[Tensor, "b k"] | None = None


@dataclass(frozen=True)
class PretrainedTrunk:
    """Where a frozen trunk's weights came from, the hash of their numbers, and the input scaling they want."""

    source: str
    sha256: str
    input_norm: Literal["sam", "medsam"]


class Segmenter(nn.Module, ABC):
    """A model that the training loop and the walk can drive.

    Attributes:
        classes: Organs, without the background.
        pretrained: What a model folder names instead of holding; None without a pretrained trunk.
    """

    classes: int
    pretrained: PretrainedTrunk | None = None

    @abstractmethod
    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        """Images in [0, 1], each slice by itself."""

    @abstractmethod
    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        """Each of n slices with the one before and the one after it, in anatomical order."""

    @abstractmethod
    def start(self, batch: int) -> SliceState:
        """The state before the first slice of a walk."""

    @abstractmethod
    def step(self, shared: SharedFeatures, state: SliceState) -> StepOutput:
        """One slice per row of the state."""
