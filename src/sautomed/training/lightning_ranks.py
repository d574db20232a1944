"""What Lightning's Trainer needs to run several ranks: their places, how gradients meet, and batch norms."""

import torch
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from sautomed.model.across_ranks import summed
from sautomed.training.ranks import Ranks


class RankEnvironment(ClusterEnvironment):
    """The places of the ranks, which are started and know each other before Lightning begins."""

    def __init__(self, ranks: Ranks):
        super().__init__()
        self.ranks = ranks

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self.ranks.meeting[0] if self.ranks.meeting else "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.ranks.meeting[1] if self.ranks.meeting else 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.ranks.count

    def set_world_size(self, size: int) -> None:
        """Keep it: it is known."""

    def global_rank(self) -> int:
        return self.ranks.rank

    def set_global_rank(self, rank: int) -> None:
        """Keep it: it is known."""

    def local_rank(self) -> int:
        return self.ranks.local_rank

    def node_rank(self) -> int:
        return self.ranks.rank // self.ranks.devices


def strategy_of(ranks: Ranks) -> DDPStrategy | str:
    """Return how gradients meet. Some parts have none in some steps; buffers are the same on all ranks anyway."""
    if ranks.count == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)


class CpuBatchNorms(LayerSync):
    """Batch norms over the batch of all ranks on the CPU, where PyTorch's SyncBatchNorm does not run."""

    def apply(self, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = _BatchNormOfRanks
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if type(module) is _BatchNormOfRanks:
                module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
        return model


class _BatchNormOfRanks(nn.BatchNorm2d):
    """Batch norm whose mean and variance in training are those of the rows of all ranks, as many on each."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.momentum is None or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        x, axes = input.float(), (0, 2, 3)
        count = summed(x.new_tensor(x.numel() // x.shape[1]))
        mean = summed(x.sum(axes)) / count
        centred = x - mean[:, None, None]
        variance = summed(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)
