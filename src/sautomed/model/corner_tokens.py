"""Box prompts for the mask decoder: SAM's two tokens for the corners of a box, one box per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from sautomed.model.position_code import PositionCode

if TYPE_CHECKING:
    from sautomed.model.sam.network import Sam


class CornerTokens(nn.Module):
    """Two tokens per class, made as SAM's prompt encoder makes them of a box: the place of a corner, and which corner.

    The place is in the decoder's own position code. To each token the generator's hidden state and the class's code are
    added.

    Args:
        stride: Pixels of the image per place of the features.
    """

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.kinds = nn.Parameter(torch.randn(2, dim))  # top left, bottom right
        self.content = nn.Linear(dim, dim, bias=False)

    @torch.no_grad()
    def start_from(self, sam: Sam) -> None:
        """Copy SAM's corners; the hidden state, which SAM does not have, is silent at first."""
        self.kinds.copy_(torch.cat([sam.prompt.point_embed[kind].weight for kind in (2, 3)]))
        self.content.weight.zero_()

    def forward(
        self,
        boxes: Float[Tensor, "b k 4"],
        hidden: Float[Tensor, "b k c"],
        code: Float[Tensor, "k c"],
        grid: tuple[int, int],
        position: PositionCode,
    ) -> Float[Tensor, "b 2*k c"]:
        """Return the tokens of a class one after the other.

        Args:
            boxes: xyxy in [0, 1], from edge to edge of their outermost pixels.
            grid: Height and width of the features.
        """
        h, w = grid
        half = boxes.new_tensor([0.5 / (self.stride * w), 0.5 / (self.stride * h)])  # of a pixel; SAM takes centres
        corners = rearrange(boxes, "b k (two xy) -> b k two xy", two=2) + torch.stack([half, -half])
        tokens = position(corners) + self.kinds + (self.content(hidden) + code)[:, :, None]
        return rearrange(tokens, "b k two c -> b (k two) c")
