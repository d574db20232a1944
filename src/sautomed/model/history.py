"""Historical slice information sharing: global 3D awareness (Liang et al. 2024, section 2.2, Eq. 3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HistoryTokens(nn.Module):
    """K tokens that pass through the mask decoder beside the output tokens and carry information to the next slice.

    The information filter is an MLP and a normalisation, as the paper says; the residual inside is ours. The
    normalisation bounds the recurrence: SAM's decoder takes tokens as content and as position, so their length
    matters. Each token's own learned part is added at every slice, since the decoder returns tokens that are nearly
    alike: without it, K tokens would be one after a few slices.
    """

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.own = nn.Parameter(torch.randn(tokens, dim))
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.norm = nn.LayerNorm(dim)

    def start(self, batch: int) -> Float[Tensor, "b tokens c"]:
        """Return the tokens before the first slice, filtered like all later ones."""
        return self.filter(self.own.expand(batch, -1, -1))

    def filter(self, tokens: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        """Apply the information filter of Eq. 3 to the decoder's output."""
        return self.norm(self.own + tokens + self.mlp(tokens))


class NoHistory(nn.Module):
    """In place of `HistoryTokens` where they are switched off: no tokens."""

    none: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("none", torch.zeros(0, dim), persistent=False)

    def start(self, batch: int) -> Float[Tensor, "b 0 c"]:
        return self.none.expand(batch, -1, -1)

    def filter(self, tokens: Float[Tensor, "b 0 c"]) -> Float[Tensor, "b 0 c"]:
        return tokens
