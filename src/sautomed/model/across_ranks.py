"""What the processes that train together (ranks) share within a step: sums, conditions and random numbers.

The batch of a step is the rows of all ranks, in their order. With these functions a loss that is a ratio of sums over
the batch, a condition on the batch and random numbers of its rows are those of one process with the whole batch. In a
process that trains alone, each of them does nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def summed(values: Tensor) -> Tensor:
    """Return the sum over the ranks, with gradient.

    Ranks average their gradients. A loss of such sums is the same on each of them, and its averaged gradient is that
    of one process with the whole batch. All ranks must call this in the same order.
    """
    return values if _place()[1] == 1 else _Sum.apply(values)


def on_any_rank(flags: Tensor) -> bool:
    """Return whether any flag is set on any rank."""
    found = flags.any()
    if _place()[1] > 1:
        found = found.to(torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def own_rows(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """Return random numbers for this rank's rows of the step's batch.

    Args:
        draw: Draws as many rows as it is given, with a generator in the same state on all ranks.
        rows: Of this rank, as many as of any other.
    """
    rank, ranks = _place()
    return draw(ranks * rows)[rank * rows : (rank + 1) * rows]


def in_whole_batch(values: Tensor, elsewhere: float) -> Tensor:
    """Return this rank's rows at their place in the step's batch, and a number in the rows of the others."""
    rank, ranks = _place()
    whole = values.new_full((ranks * len(values), *values.shape[1:]), elsewhere)
    whole[rank * len(values) : (rank + 1) * len(values)] = values
    return whole


def _place() -> tuple[int, int]:
    """Return the rank of this process, and their number."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _Sum(torch.autograd.Function):
    """Sum over the ranks. Each gets the gradients of all, as its values went into the losses of all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _all_reduced(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


def _all_reduced(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
