"""Box Prompt Generator: the previous slice's boxes prompt this one (Liang et al. 2024, section 2.3, Eq. 4-5).

One anchor query per class, so no matching is needed: query k is class k. The layers are DAB-DETR's (Liu et al. 2022):
content and place stay apart in the cross-attention, the anchor's width and height scale its reach, and each layer
moves the anchor a little. The box that the last layer predicts prompts the decoder by its corners, as boxes prompt SAM.
Runs in float32 whatever the precision around it: reciprocals of small boxes overflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from sautomed.model.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from sautomed.model.corner_tokens import CornerTokens
from sautomed.model.given import GivenPrompts
from sautomed.model.position_code import PositionCode
from sautomed.model.values import Seen

if TYPE_CHECKING:
    from sautomed.model.sam.network import Sam

SMALLEST_SIDE = 1e-2  # of the slice; masks can give boxes of one pixel, and the reach divides by the side
SINE_TEMPERATURE = 20.0  # DAB-DETR's for images; used for queries too, so that both sides have one code
SAM_CODE = 0.1  # ours: class code beside SAM's mask token at the start, so that a loaded decoder reads it as SAM does


@dataclass(frozen=True)
class BoxPrompt:
    """Output of the generator for a slice.

    Attributes:
        embedding: Two prompts per class for the decoder (E_pmt of Eq. 5), the corners of its box; no prompt at all
            without a generator.
        code: Added to both prompts of a class; the decoder adds it to the class's mask token.
        boxes: After each layer, xyxy in [0, 1]; None without a generator.
        presence: Logit of "class k is in this slice"; None without a generator.
    """

    embedding: Float[Tensor, "b m c"]
    code: Float[Tensor, "k c"]
    boxes: Float[Tensor, "layers b k 4"] | None = None
    presence: Float[Tensor, "b k"] | None = None


class BoxPromptGenerator(nn.Module):
    """Anchor queries (Eq. 4) through a cross-attention Transformer over the image features (Eq. 5).

    Args:
        stride: Pixels of the image per place of the features.
    """

    makes_boxes = True

    def __init__(self, classes: int, dim: int, stride: int, layers: int = 2, heads: int = 8, feedforward: int = 1024):
        super().__init__()
        self.dim = dim
        # logits of cxcywh; zeros are the slice's middle
        self.default_query, self.absent_query = (nn.Parameter(torch.zeros(classes, 4)) for _ in range(2))
        # learned tokens are as long as what is normed beside them, or all classes would look the same
        self.semantic = nn.Parameter(torch.randn(classes, dim))
        self.seen_before = nn.Parameter(torch.randn(len(Seen), dim))
        self.code_gain = nn.Parameter(torch.ones(()))
        self.anchor_to_query = _mlp(2 * dim, dim, dim)
        self.reach = _mlp(dim, dim, 2)
        self.layers = nn.ModuleList(AnchorLayer(dim, heads, feedforward, first=i == 0) for i in range(layers))
        self.move = nn.Sequential(_mlp(dim, dim, dim), nn.ReLU(), _zero_linear(dim, 4))  # anchors stay put at first
        self.norm = nn.LayerNorm(dim)
        self.presence = nn.Linear(dim, 1)
        self.corners = CornerTokens(dim, stride)

    @property
    def code(self) -> Float[Tensor, "k c"]:
        """The semantic tokens as the decoder sees them: one vector for a class's prompts and its mask token."""
        return self.code_gain * self.semantic

    def start_from_mean_boxes(self, mean_boxes: Callable[[], Float[Tensor, "k 4"]]) -> None:
        """Compute the mean boxes and set the learned queries to them."""
        self.set_default_boxes(mean_boxes())

    @torch.no_grad()
    def set_default_boxes(self, boxes: Float[Tensor, "k 4"]) -> None:
        """Set the learned queries to the mean box (xyxy in [0, 1]) of each class in the training slices."""
        for query in (self.default_query, self.absent_query):
            query.copy_(_to_logits(xyxy_to_cxcywh(boxes)))

    @torch.no_grad()
    def start_from(self, sam: Sam) -> None:
        """Make the prompts those of SAM for the same boxes, but for a small class code."""
        self.corners.start_from(sam)
        self.code_gain.fill_(SAM_CODE * sam.decoder.mask_tokens.weight[0].std())

    def anchors(self, boxes: Float[Tensor, "b k 4"], seen: Int[Tensor, "b k"]) -> Float[Tensor, "b k 4"]:
        """Return Q_anc of Eq. 4 as logits of cxcywh.

        The previous box where there is one, the default query where nothing is known, and another learned query for a
        class that was not on the previous slice.
        """
        learned = torch.where(seen[..., None] == Seen.ABSENT, self.absent_query, self.default_query)
        return torch.where(seen[..., None] == Seen.PRESENT, _to_logits(xyxy_to_cxcywh(boxes)), learned)

    def forward(
        self,
        memory: Float[Tensor, "b c h w"],
        boxes: Float[Tensor, "b k 4"],
        seen: Int[Tensor, "b k"],
        position: PositionCode,
        given: GivenPrompts | None = None,
    ) -> BoxPrompt:
        """Prompt one slice per row.

        Args:
            memory: Image features.
            boxes: Of the previous slice, xyxy in [0, 1].
            seen: What `SliceState.seen` says of the previous slice.
            position: The decoder's own position code.
            given: Boxes and masks that a person gives for this slice prompt the decoder as they are.
        """
        with torch.autocast(memory.device.type, enabled=False):
            found, hidden = self._generate(memory.float(), boxes.float(), seen)
            box = found[-1] if given is None else given.boxes_or(found[-1])
            tokens = self.corners(box, hidden, self.code, memory.shape[-2:], position)
            return BoxPrompt(tokens, self.code, found, self.presence(hidden).squeeze(-1))

    def _generate(self, memory: Tensor, boxes: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes after each layer, and the last layer's normed hidden state."""
        keys = rearrange(memory, "b c h w -> b (h w) c")
        places = sine_of_grid(memory.shape[-2], memory.shape[-1], self.dim, memory.device)
        anchor = self.anchors(boxes, seen)
        content = self.semantic + self.seen_before[seen]
        found = []
        for layer in self.layers:
            box = anchor.sigmoid()
            sine = sine_of_boxes(box, self.dim)
            reach = self.reach(content).sigmoid() / box[..., 2:].clamp(min=SMALLEST_SIDE)
            content = layer(content, self.anchor_to_query(sine), sine[..., : self.dim], reach, keys, places)
            refined = anchor + self.move(content)
            found.append(cxcywh_to_xyxy(refined.sigmoid()))
            anchor = refined.detach()  # each layer has gradient for its own move alone (DAB-DETR)
        return torch.stack(found), self.norm(content)


class NoBoxPrompts(nn.Module):
    """In place of `BoxPromptGenerator` where it is switched off: no prompts, and mask tokens as they are."""

    makes_boxes = False
    code: Tensor

    def __init__(self, classes: int, dim: int):
        super().__init__()
        self.register_buffer("code", torch.zeros(classes, dim), persistent=False)

    def start_from_mean_boxes(self, mean_boxes: Callable[[], Float[Tensor, "k 4"]]) -> None:
        """Do nothing: computing them would read all training labels."""

    def start_from(self, sam: Sam) -> None:
        """Do nothing."""

    def forward(
        self,
        memory: Float[Tensor, "b c h w"],
        boxes: Tensor,
        seen: Tensor,
        position: PositionCode,
        given: GivenPrompts | None = None,
    ) -> BoxPrompt:
        return BoxPrompt(memory.new_zeros(len(memory), 0, memory.shape[1]), self.code)


class AnchorLayer(nn.Module):
    """Self-attention of the classes, then cross-attention around their anchors (DAB-DETR decoder layer, post-norm)."""

    def __init__(self, dim: int, heads: int, feedforward: int, first: bool):
        super().__init__()
        self.heads = heads
        self.self_query, self.self_key, self.self_value, self.self_out = (nn.Linear(dim, dim) for _ in range(4))
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.query_place, self.key_place = nn.Linear(dim, dim), nn.Linear(dim, dim)
        # layer 0 has no content of its own yet, so its queries also carry the anchor
        self.query_anchor = nn.Linear(dim, dim) if first else None
        self.scale_place = None if first else _mlp(dim, dim, dim)
        self.feedforward = nn.Sequential(nn.Linear(dim, feedforward), nn.ReLU(), nn.Linear(feedforward, dim))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(
        self,
        content: Float[Tensor, "b k c"],
        anchor: Float[Tensor, "b k c"],
        sine: Float[Tensor, "b k c"],
        reach: Float[Tensor, "b k 2"],
        keys: Float[Tensor, "b s c"],
        places: Float[Tensor, "s c"],
    ) -> Float[Tensor, "b k c"]:
        query, key = self.self_query(content + anchor), self.self_key(content + anchor)
        talked = self.self_out(self._attend(query, key, self.self_value(content)))
        content = self.norm1(content + talked)
        content = self.norm2(content + self.out(self._look(content, anchor, sine, reach, keys, places)))
        return self.norm3(content + self.feedforward(content))

    def _look(
        self, content: Tensor, anchor: Tensor, sine: Tensor, reach: Tensor, keys: Tensor, places: Tensor
    ) -> Tensor:
        """Cross-attention with content and position concatenated per head, not added (Conditional DETR)."""
        query, key = self.query(content), self.key(keys)
        if self.query_anchor is not None:
            query = query + self.query_anchor(anchor)
        if self.scale_place is not None:
            sine = sine * self.scale_place(content)
        half = sine.shape[-1] // 2  # first y, then x
        sine = torch.cat([sine[..., :half] * reach[..., 1:], sine[..., half:] * reach[..., :1]], -1)
        place = self.key_place(places).expand(len(keys), -1, -1)
        return self._attend(self._beside(query, self.query_place(sine)), self._beside(key, place), self.value(keys))

    def _beside(self, content: Tensor, place: Tensor) -> Tensor:
        both = torch.cat([rearrange(x, "b n (e d) -> b n e d", e=self.heads) for x in (content, place)], -1)
        return rearrange(both, "b n e d -> b n (e d)")

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (rearrange(x, "b n (e d) -> b e n d", e=self.heads) for x in (query, key, value))
        return rearrange(nnf.scaled_dot_product_attention(q, k, v), "b e n d -> b n (e d)")


def sine_of_boxes(boxes: Float[Tensor, "*n 4"], dim: int) -> Float[Tensor, "*n {2*dim}"]:
    """Encode cxcywh in [0, 1] as sines and cosines, dim/2 for each of y, x, w, h in this order."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.cat([_sine(x, dim // 2) for x in (cy, cx, w, h)], -1)


def sine_of_grid(h: int, w: int, dim: int, device: torch.device) -> Float[Tensor, "{h*w} {dim}"]:
    """Encode the centre of every place of a grid likewise: y, then x."""
    y = _sine((torch.arange(h, device=device) + 0.5) / h, dim // 2)
    x = _sine((torch.arange(w, device=device) + 0.5) / w, dim // 2)
    both = torch.cat([y[:, None].expand(h, w, -1), x[None].expand(h, w, -1)], -1)
    return both.flatten(0, 1)


def _sine(x: Float[Tensor, "*n"], channels: int) -> Float[Tensor, "*n {channels}"]:
    powers = torch.arange(channels // 2, device=x.device) / (channels // 2)
    angle = 2 * math.pi * x[..., None] / SINE_TEMPERATURE**powers
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)


def _to_logits(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    return torch.logit(boxes.clamp(SMALLEST_SIDE, 1 - SMALLEST_SIDE))


def _zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer whose output is zero until it is trained."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
