"""Historical slice information sharing: global 3D awareness (Liang et al. 2024, section 2.2, Eq. 3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HistoryTokens(nn.Module):
    """K tokens that stand beside the output tokens in the mask decoder and come back changed.

    The information filter is an MLP and a normalisation, as the paper says; the residual inside is ours. The
    normalisation bounds the recurrence: SAM's decoder takes tokens as content and as position, so their length
    matters.
    """

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.first = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.norm = nn.LayerNorm(dim)

    def start(self, batch: int) -> Float[Tensor, "b tokens c"]:
        """The tokens before any slice was seen, filtered like all that follow."""
        return self.filter(self.first.expand(batch, -1, -1))

    def filter(self, tokens: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        return self.norm(tokens + self.mlp(tokens))
