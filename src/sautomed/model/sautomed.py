"""3D-SAutoMed: Fig. 1 of Liang et al. 2024 in code.

Parts that the settings switch off are replaced by stand-ins without parameters (`NoSliceAttention`, `NoHistory`,
`NoBoxPrompts`), so that `encode`, `share` and `step` need no conditions.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sautomed.config import TrainSettings
from sautomed.model.box_prompt import BoxPromptGenerator, NoBoxPrompts
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.given import GivenPrompts, gate
from sautomed.model.history import HistoryTokens, NoHistory
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.position_code import PositionCode
from sautomed.model.prompt_head import NoPromptHead, PromptHead
from sautomed.model.prompt_rows import PromptedRuns, prompted_runs
from sautomed.model.slice_attention import NoSliceAttention, SliceAttention
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Examples, Features, Seen, SharedFeatures, SliceState, StepOutput

SMALLEST_PART = 0.05  # ours: share of an organ's pixels; a part of fewer, away from the rest, does not stretch its box


@runtime_checkable
class Trunk(Protocol):
    """The image encoder: a Module whose output is Features or one map (n c h w)."""

    stride: int  # pixels of the image per place of the features
    channels: int
    fine_channels: tuple[int, ...]  # of the finer maps, coarsest first

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class SAutoMed(SliceWalker):
    """Trunk -> slice attention -> box prompt, history and mask decoder, slice after slice.

    Args:
        trunk: The image encoder, with or without finer maps.
        min_pixels: A class of fewer pixels of the input gives no box to the next slice.
        generator_input: Selects what the generator looks at: z (after the slice attention) or f (before).
        prompt_head: Makes the masks heed the prompts; none as in the paper.

    Attributes:
        enforces_given: Whether masks obey what is given for a slice by the gate; benchmarks switch it off to see what
            the network itself makes of its prompts.
    """

    def __init__(
        self,
        trunk: Trunk,
        decoder: MaskDecoder,
        slice_attention: SliceAttention | NoSliceAttention,
        history: HistoryTokens | NoHistory,
        generator: BoxPromptGenerator | NoBoxPrompts,
        min_pixels: int,
        generator_input: Callable[[SharedFeatures], Tensor],
        prompt_head: PromptHead | NoPromptHead | None = None,
    ):
        super().__init__()
        dim = decoder.no_mask.numel()
        self.prompt_head = NoPromptHead() if prompt_head is None else prompt_head
        self.enforces_given = True
        self.trunk, self.decoder = trunk, decoder
        self.slice_attention, self.history, self.generator = slice_attention, history, generator
        self.position = PositionCode(dim)
        self.classes, self.makes_prompts = len(decoder.mask_tokens) - 1, generator.makes_boxes
        self.stride, self.min_pixels, self.generator_input = trunk.stride, min_pixels, generator_input

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        """Return f of each slice by itself (section 2.1)."""
        return Features.of(self.trunk(images))

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        """Return z of n slices at once (Eq. 1-2)."""
        f = here.coarse
        z = self.slice_attention(before.coarse, f, after.coarse, self._positions(f))
        return SharedFeatures(z, f, here.fine)

    def start(self, batch: int) -> SliceState:
        """Return a state with first history tokens; nothing is known of any class."""
        return SliceState.unknown(self.history.start(batch), self.classes)

    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput:
        """Predict one slice per row (Eq. 3-5).

        What a person gives for the slice takes the place of predicted boxes, and the masks obey it; so does the state.
        """
        z = shared.z
        prompt = self.generator(self.generator_input(shared), state.boxes, state.seen, self.position, given)
        history, prompts, code = (x.to(z.dtype) for x in (state.history, prompt.embedding, prompt.code))
        decoded = self.decoder(z, shared.fine, self._positions(z), history, prompts, code)
        ungated = self.prompt_head(decoded.logits, decoded.pixels, state, given)
        logits = gate(ungated, given) if given is not None and self.enforces_given else ungated
        boxes, present = self._boxes_of_masks(logits.detach(), z)
        masks, carried = self.prompt_head.remember(state, given, logits, decoded.logits)
        after = SliceState(self.history.filter(decoded.history), boxes, Seen.of(present), masks, carried)
        return StepOutput(
            logits,
            after,
            prompt.boxes,
            prompt.presence,
            ungated=None if given is None else ungated,
            image_alone=None if ungated is decoded.logits else decoded.logits,
            pixels=decoded.pixels,
        )

    def runs(self, examples: Examples, settings: TrainSettings, generator: torch.Generator) -> PromptedRuns:
        """Return the runs of a batch, with rows that teach obedience as `train.prompt_rows` says.

        Half of the batches of single slices that come alone at the beginning of a training have none.
        """
        plain = super().runs(examples, settings, generator)
        alone = examples.images.shape[1] == examples.labels.shape[1]
        if settings.prompt_rows == 0 or (alone and torch.rand((), generator=generator) < 0.5):
            return plain
        return prompted_runs(examples, plain.state, settings.prompt_rows, settings.box_jitter, generator)

    def start_from_mean_boxes(self, mean_boxes: Callable[[], Float[Tensor, "k 4"]]) -> None:
        """Start the default queries from them (Eq. 4)."""
        self.generator.start_from_mean_boxes(mean_boxes)

    def _boxes_of_masks(
        self, logits: Float[Tensor, "b k1 h w"], z: Float[Tensor, "b c h2 w2"]
    ) -> tuple[Float[Tensor, "b k1-1 4"], Bool[Tensor, "b k1-1"]]:
        """Return bbox^pre of Eq. 4 for the next slice: the box of each class in the label map of this one."""
        input_pixels_per_logit = (self.stride * z.shape[-1] / logits.shape[-1]) ** 2
        fewest = max(1, round(self.min_pixels / input_pixels_per_logit))
        return boxes_of_labels(logits.argmax(1), self.classes, fewest, SMALLEST_PART)

    def _positions(self, f: Float[Tensor, "n c h w"]) -> Float[Tensor, "c h w"]:
        """Return SAM's dense position embedding: Fourier features of the centre of every cell of the feature map."""
        return self.position.dense(*f.shape[-2:]).to(f.dtype)
