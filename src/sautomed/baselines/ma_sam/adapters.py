"""MA-SAM's additions to an encoder: 3D adapters, which mix neighbouring slices, and FacT.

Source: Chen et al. 2024 (Medical Image Analysis), section 3; FacT is Jie and Deng 2023 (AAAI), its tensor train.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

NORM_EPS = 1e-6  # as in SAM's encoder
DROPOUT = 0.1  # public code


class StackAdapter(nn.Module):
    """A bottleneck with a residual, whose convolution mixes each place with the same place in both neighbouring slices.

    A stack is padded with zeros. As in the public code the last layer does not start at zero, so new adapters already
    change the encoder's output (Chen et al. 2024, Fig. 2).
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.down = nn.Linear(channels, width, bias=False)
        self.conv = nn.Conv3d(width, width, kernel_size=(3, 1, 1), padding=(1, 0, 0))
        self.activation = nn.GELU()
        self.up = nn.Linear(width, channels, bias=False)

    def forward(self, x: Float[Tensor, "bn h w c"], slices: int) -> Float[Tensor, "bn h w c"]:
        """Apply the adapter to b stacks of `slices` slices each, one stack after the other."""
        thin = self.down(self.norm(x)).unflatten(0, (-1, slices))
        mixed = self.conv(thin.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return x + self.up(self.activation(mixed).flatten(0, 1))


class FacT(nn.Module):
    """Low-rank changes of the queries and values of every block: V S U x, where each block has an S of its own.

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
        self, qkv: Float[Tensor, "b h w c3"], x: Float[Tensor, "b h w c3//3"], block: int
    ) -> Float[Tensor, "b h w c3"]:
        """Return the changed queries, keys and values of a block, which it computed from x."""
        thin = self.u(x)
        q, k, v = qkv.chunk(3, dim=-1)
        change_q = self.v(self.dropout(self.q_cores[block](thin)))
        change_v = self.v(self.dropout(self.v_cores[block](thin)))
        return torch.cat([q + change_q, k, v + change_v], dim=-1)
