"""The two things that MA-SAM adds to an encoder: 3D adapters, which let slices see each other, and FacT.

Source: Chen et al. 2024 (Medical Image Analysis), section 3; FacT is Jie and Deng 2023 (AAAI), its tensor train.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

NORM_EPS = 1e-6  # of every layer norm in SAM's encoder, which the adapters' copy
DROPOUT = 0.1  # public code


class StackAdapter(nn.Module):
    """Down, each place with the same place in the slices beside it, up, and added (Chen et al. 2024, Fig. 2).

    The convolution sees zeros beyond a stack's ends. As in the public code the last layer does not start at zero, so
    an encoder with fresh adapters is no longer what it was.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.down = nn.Linear(channels, width, bias=False)
        self.conv = nn.Conv3d(width, width, kernel_size=(3, 1, 1), padding=(1, 0, 0))
        self.activation = nn.GELU()
        self.up = nn.Linear(width, channels, bias=False)

    def forward(self, x: Float[Tensor, "bn h w c"], slices: int) -> Float[Tensor, "bn h w c"]:
        """Places of b stacks of `slices` slices each, one stack after the other."""
        thin = self.down(self.norm(x)).unflatten(0, (-1, slices))
        mixed = self.conv(thin.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return x + self.up(self.activation(mixed).flatten(0, 1))


class FacT(nn.Module):
    """What is added to the queries and values of every block: V S U x, where only S is the block's own.

    V starts at zero.
    """

    def __init__(self, channels: int, rank: int, blocks: int):
        super().__init__()
        self.u = nn.Linear(channels, rank, bias=False)
        self.v = nn.Linear(rank, channels, bias=False)
        self.q_cores = nn.ModuleList(nn.Linear(rank, rank, bias=False) for _ in range(blocks))
        self.v_cores = nn.ModuleList(nn.Linear(rank, rank, bias=False) for _ in range(blocks))
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.zeros_(self.v.weight)

    def forward(
        self, qkv: Float[Tensor, "b h w 3*c"], x: Float[Tensor, "b h w c"], block: int
    ) -> Float[Tensor, "b h w 3*c"]:
        """A block's queries, keys and values with the change; x is what they were made of."""
        thin = self.u(x)
        q, k, v = qkv.chunk(3, dim=-1)
        more_q = self.v(self.dropout(self.q_cores[block](thin)))
        more_v = self.v(self.dropout(self.v_cores[block](thin)))
        return torch.cat([q + more_q, k, v + more_v], dim=-1)
