"""What every model of this package is, and the small values that pass between a model and the loops that drive it.

Most are walkers with three verbs. `encode` looks at slices one by one, each slice of a volume once. `share` lets a
slice look at its neighbours. `step` goes along the walk, from one slice to the next, and is the only one that carries a
state. A 2D model shares nothing and returns its state unchanged. What looks at many slices at once takes stacks, and
what a person prompts says itself how it goes through a volume. One training and one inference loop serve all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sautomed.model.sam.keys import SamSizes


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
class TrunkShape:
    """What a SAM trunk is built from when its weights come later."""

    sizes: SamSizes
    lora_rank: int


@dataclass(frozen=True)
class PretrainedTrunk:
    """Where a trunk's weights came from, the hash of their numbers, and the input scaling they want.

    Attributes:
        shape: Of a trunk that is trained as a whole: nothing of it is left as it came, so that a model folder holds
            all of it. None where some of it is frozen.
    """

    source: str
    sha256: str
    input_norm: Literal["sam", "medsam"]
    shape: TrunkShape | None = None


@dataclass(frozen=True)
class PredictedSlice:
    """One slice of a volume as a network sees it.

    Attributes:
        index: Of the slice in the oriented volume.
        logits: Or any other score whose largest channel is the class; channel 0 is the background.
        boxes: Each class's box that prompted this slice, xyxy in [0, 1] of the network's square; None without prompts.
        present: Which of these boxes there were.
    """

    index: int
    logits: Float[Tensor, "k+1 h w"]
    boxes: Float[Tensor, "k 4"] | None = None
    present: Bool[Tensor, " k"] | None = None


class SliceReader(Protocol):
    """A volume as a network sees it: square slices in [0, 1], on the network's device, read when they are asked for."""

    depth: int

    def images(self, rows: Sequence[int]) -> Float[Tensor, "n 3 s s"]:
        """Slices of these indices with the channels that the settings give them."""

    def truth(self, rows: Sequence[int]) -> Int[Tensor, "n s s"]:
        """Their true classes, for systems that somebody prompts.

        Raises:
            PromptsNeeded: The volume comes without its truth.
        """


class Examples(Protocol):
    """A batch of training runs: consecutive slices in walk order, the last being the target (`sampling.runs.Run`)."""

    @property
    def images(self) -> Float[Tensor, "b n+2 3 h w"]:
        """One more at each end: neighbours."""

    @property
    def labels(self) -> Int[Tensor, "b n h w"]: ...

    @property
    def upward(self) -> Bool[Tensor, " b"]:
        """Whether a run goes towards higher indices."""


class Segmenter(nn.Module, ABC):
    """A model that the training loop and the inference loop can drive: a walker, a stack or a prompted one.

    Attributes:
        classes: Organs, without the background.
        pretrained: Its frozen part is what a model folder names instead of holding; None without a pretrained trunk.
        prompts: What a person, or the truth in their place, must give for each organ.
        run_slices: Consecutive slices of a training example; None draws their number anew for every batch.
        overhang: Slices by which such an example may reach beyond either end of a volume; the edge slice is repeated.
    """

    classes: int
    pretrained: PretrainedTrunk | None = None
    prompts: Literal["none", "box", "points"] = "none"
    run_slices: int | None = None
    overhang: int = 0

    @abstractmethod
    def heaviest(self, images: Float[Tensor, "n 3 s s"]) -> object:
        """The part of the work that holds most memory, for n slices; what it returns is kept until they are done."""


class SliceWalker(Segmenter):
    """Goes from slice to slice with a state; a 2D model is one whose state stays as it is."""

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

    def heaviest(self, images: Float[Tensor, "n 3 s s"]) -> Features:
        """The trunk."""
        return self.encode(images)


class PlainSegmenter(SliceWalker):
    """A 2D model: slices know nothing of each other. `encode` and `logits` are all it needs."""

    run_slices = 1

    @abstractmethod
    def logits(self, features: Features) -> Float[Tensor, "n k+1 h w"]:
        """From the features of n slices, at any resolution."""

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        return SharedFeatures(here.coarse, here.coarse, here.fine)

    def start(self, batch: int) -> SliceState:
        nothing = torch.zeros(batch, self.classes, 4, device=next(self.parameters()).device)
        return SliceState(nothing[:, :0], nothing, nothing[..., 0].bool())

    def step(self, shared: SharedFeatures, state: SliceState) -> StepOutput:
        return StepOutput(self.logits(Features(shared.z, shared.fine)), state)


class StackSegmenter(Segmenter):
    """Looks at a stack of consecutive slices and labels all of them; where stacks overlap, softmax is averaged.

    Attributes:
        slices: Of a stack.
        stride: Slices from one stack to the next in a volume.
    """

    slices: int
    stride: int

    def __init__(self, classes: int, slices: int, stride: int, overhang: int = 0):
        super().__init__()
        self.classes, self.slices, self.stride, self.overhang = classes, slices, stride, overhang
        self.run_slices = slices

    @abstractmethod
    def forward(self, images: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n k+1 h2 w2"]:
        """Logits of every slice of a stack in anatomical order; images in [0, 1]."""

    def in_training(self, images: Float[Tensor, "b n 3 h w"]) -> list[Float[Tensor, "b n2 k+1 h2 w2"]]:
        """What the loss is taken of, most important first; more than one with deep supervision.

        Each may have fewer slices and pixels than the labels, which are then shrunk to it.
        """
        return [self(images)]

    def heaviest(self, images: Float[Tensor, "n 3 s s"]) -> Tensor:
        """A whole stack, however many slices are asked for."""
        return self(images[:1].expand(self.slices, -1, -1, -1)[None])


class PromptedSegmenter(Segmenter):
    """Needs points or boxes from somebody, so it says itself how it goes through a volume and what it learns from."""

    @abstractmethod
    def predict(self, volume: SliceReader, chunk: int) -> Iterator[PredictedSlice]:
        """Each slice once, in any order; `chunk` slices pass the trunk together. Prompts come from `volume.truth`."""

    @abstractmethod
    def losses(self, run: Examples, generator: torch.Generator) -> dict[str, Tensor]:
        """`loss` and its named parts, for one batch. Raises UsageError if it does not learn at all."""
