"""SAM's position code: random Fourier features of places in the image (Tancik et al. 2020; Kirillov et al. 2023)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PositionCode(nn.Module):
    """Turns places into vectors. The frequencies are drawn once and never trained, as in SAM.

    Its one tensor has the name that it has in transformers' SAM, so that either loads the other's state.

    Args:
        dim: Length of the vectors: a sine and a cosine of each frequency.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.positional_embedding: Tensor
        self.register_buffer("positional_embedding", torch.randn(2, dim // 2))

    def forward(self, places: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n c"]:
        """Return the code of places (x, y), each in [0, 1] over the image."""
        table = self.positional_embedding
        angles = 2 * math.pi * ((2 * places - 1).to(table.dtype) @ table)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def dense(self, h: int, w: int) -> Float[Tensor, "c {h} {w}"]:
        """Return the code of the centre of every place of an h x w grid that spans the image."""
        return self(centres(h, w, self.positional_embedding)).permute(2, 0, 1)


def centres(h: int, w: int, like: Tensor) -> Float[Tensor, "{h} {w} 2"]:
    """Return the centres (x, y), in [0, 1], of an h x w grid, on the device and in the precision of a tensor."""
    y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
    x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
