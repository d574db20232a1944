"""Optimiser, weight decay and the average of the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sautomed.config import TrainSettings


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name, over the trained parameters."""
    groups = _groups(model, settings.weight_decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, settings.momentum, nesterov=settings.nesterov)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Give weight decay to the matrices of layers only, not to norms, biases and tokens."""

    def decays(name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim >= 2 and name.endswith("weight")

    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in trained if decays(name, p)], "weight_decay": weight_decay},
        {"params": [p for name, p in trained if not decays(name, p)], "weight_decay": 0.0},
    ]


def warming_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Return an exponential average that forgets quickly at first, so that the untrained weights soon drop out."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, new in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, 1 - keep)
            else:
                mean.copy_(new)

    return update
