"""3D-SAutoMed: Fig. 1 of Liang et al. 2024 in code.

A part that the settings switch off is not built: no parameters, no work.
"""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from sautomed.model.box_prompt import BoxPromptGenerator
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.history import HistoryTokens
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.sam.network import dense_position
from sautomed.model.segmenter import Features, SharedFeatures, SliceState, SliceWalker, StepOutput
from sautomed.model.slice_attention import SliceAttention


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
        memory: What the generator reads: "z" (after the slice attention) or "f" (before).
    """

    def __init__(
        self,
        trunk: Trunk,
        decoder: MaskDecoder,
        slice_attention: SliceAttention | None,
        history: HistoryTokens | None,
        generator: BoxPromptGenerator | None,
        min_pixels: int = 10,
        memory: str = "z",
    ):
        super().__init__()
        dim = decoder.no_mask.numel()
        self.trunk, self.decoder = trunk, decoder
        self.slice_attention, self.history, self.generator = slice_attention, history, generator
        self.position = SamPositionalEmbedding(SamVisionConfig(num_pos_feats=dim // 2, scale=1.0))
        self.position.requires_grad_(False)  # random Fourier features; SAM draws them once and keeps them
        self.classes = len(decoder.mask_tokens) - 1
        self.stride, self.min_pixels, self.memory = trunk.stride, min_pixels, memory

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        """f of each slice by itself (section 2.1)."""
        out = self.trunk(images)
        return out if isinstance(out, Features) else Features(out)

    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures:
        """Eq. 1-2, for n slices at once."""
        f = here.coarse
        if self.slice_attention is None:
            return SharedFeatures(f, f, here.fine)
        z = self.slice_attention(before.coarse, f, after.coarse, self._positions(f))
        return SharedFeatures(z, f, here.fine)

    def start(self, batch: int) -> SliceState:
        """No history, no box, nothing seen."""
        device = self.decoder.no_mask.device
        if self.history is None:
            history = torch.zeros(batch, 0, self.decoder.no_mask.numel(), device=device)
        else:
            history = self.history.start(batch)
        boxes = torch.zeros(batch, self.classes, 4, device=device)
        return SliceState(history, boxes, boxes[..., 0].bool())

    def step(self, shared: SharedFeatures, state: SliceState) -> StepOutput:
        """Eq. 3-5 for one slice per row."""
        z = shared.z
        prompt = None
        if self.generator is not None:
            prompt = self.generator(z if self.memory == "z" else shared.f, state.boxes, state.present)
        prompts = z.new_zeros(len(z), 0, z.shape[1]) if prompt is None else prompt.embedding.to(z.dtype)
        logits, history = self.decoder(z, shared.fine, self._positions(z), state.history.to(z.dtype), prompts)
        if self.history is not None:
            history = self.history.filter(history)
        boxes, present = self._boxes(logits.detach(), z)
        after = SliceState(history, boxes, present)
        if prompt is None:
            return StepOutput(logits, after)
        return StepOutput(logits, after, prompt.boxes, prompt.presence)

    def _boxes(self, logits: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """bbox^pre of Eq. 4 for the next slice: each class's box in the label map of this one."""
        input_pixels_per_logit = (self.stride * z.shape[-1] / logits.shape[-1]) ** 2
        fewest = max(1, round(self.min_pixels / input_pixels_per_logit))
        return boxes_of_labels(logits.argmax(1), self.classes, fewest)

    def _positions(self, f: Float[Tensor, "n c h w"]) -> Float[Tensor, "c h w"]:
        """SAM's dense position embedding: the Fourier features of the middle of every place."""
        return dense_position(self.position, *f.shape[-2:])[0].to(f.dtype)
