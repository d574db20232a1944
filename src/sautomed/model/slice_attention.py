"""Inter- and intra-slice attention: local 3D awareness (Liang et al. 2024, section 2.2, Eq. 1-2).

Pre-norm. Before a loaded SAM decoder every output projection starts at zero: an untrained block is the identity, and
the decoder gets the features that it knows. With a decoder from scratch there is nothing to protect, and a short
training would hardly wake projections that are zero. Both choices are ours; the paper is silent.
"""

import torch
import torch.nn.functional as nnf
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class InterSliceAttention(nn.Module):
    """Attention of each place in a slice to the same place in its neighbours (Eq. 1, yellow in Fig. 1).

    Only the middle slice has queries, so one layer gives the middle one what full attention over the three would.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.position = nn.Parameter(torch.randn(3, dim) * 0.02)  # before, here, after
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, slices: Float[Tensor, "n 3 h w c"]) -> Float[Tensor, "n h w c"]:
        placed = slices + self.position[:, None, None]
        query = rearrange(self.query(placed[:, 1]), "n h w (e d) -> n h w e d", e=self.heads)
        key, value = rearrange(self.key_value(placed), "n t h w (two e d) -> two n t h w e d", two=2, e=self.heads)
        # three keys per place: explicit products are several times quicker than a fused kernel on sequences this short
        weight = (query[:, None] * key).sum(-1, keepdim=True) * query.shape[-1] ** -0.5
        mixed = (weight.softmax(1) * value).sum(1)
        return self.out(rearrange(mixed, "n h w e d -> n h w (e d)"))


class IntraSliceAttention(nn.Module):
    """Attention of each place in a slice to the whole slice (Eq. 1, red in Fig. 1)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_key = nn.Linear(dim, 2 * dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "n h w c"], position: Float[Tensor, "h w c"]) -> Float[Tensor, "n h w c"]:
        h, w = x.shape[1:3]
        query, key = rearrange(self.query_key(x + position), "n h w (two e d) -> two n e (h w) d", two=2, e=self.heads)
        value = rearrange(self.value(x), "n h w (e d) -> n e (h w) d", e=self.heads)
        mixed = nnf.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(mixed, "n e (h w) d -> n h w (e d)", h=h, w=w))


class SliceAttentionBlock(nn.Module):
    """Eq. 1-2: z1 = Inter-SA + f, z2 = Intra-SA(z1) + z1, z = MLP(z2) + z2."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm_inter, self.norm_intra, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.inter = InterSliceAttention(dim, heads)
        self.intra = IntraSliceAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, slices: Float[Tensor, "n 3 h w c"], position: Float[Tensor, "h w c"]) -> Float[Tensor, "n h w c"]:
        z1 = self.inter(self.norm_inter(slices)) + slices[:, 1]
        z2 = self.intra(self.norm_intra(z1), position) + z1
        return self.mlp(self.norm_mlp(z2)) + z2

    def start_as_identity(self) -> None:
        """Set the three output projections to zero."""
        for projection in (self.inter.out, self.intra.out, self.mlp[-1]):
            for parameter in projection.parameters():
                nn.init.zeros_(parameter)


class SliceAttention(nn.Module):
    """From f of a slice and its neighbours to z of the slice; every block sees the neighbours' f."""

    def __init__(self, dim: int, heads: int = 8, blocks: int = 1, mlp_ratio: float = 4.0):
        super().__init__()
        self.blocks = nn.ModuleList(SliceAttentionBlock(dim, heads, mlp_ratio) for _ in range(blocks))

    def forward(
        self,
        before: Float[Tensor, "n c h w"],
        here: Float[Tensor, "n c h w"],
        after: Float[Tensor, "n c h w"],
        position: Float[Tensor, "c h w"],
    ) -> Float[Tensor, "n c h w"]:
        first, z, last = (x.permute(0, 2, 3, 1) for x in (before, here, after))
        place = position.permute(1, 2, 0)
        for block in self.blocks:
            z = block(torch.stack([first, z, last], 1), place)
        return z.permute(0, 3, 1, 2)

    def start_as_identity(self) -> None:
        """Make z = f until training changes it."""
        for block in self.modules():
            if isinstance(block, SliceAttentionBlock):
                block.start_as_identity()


class NoSliceAttention(nn.Module):
    """In place of `SliceAttention` where it is switched off: z is f."""

    def forward(self, before: Tensor, here: Tensor, after: Tensor, position: Tensor) -> Tensor:
        return here

    def start_as_identity(self) -> None:
        """Do nothing: it is the identity."""
