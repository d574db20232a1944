"""Optimiser, weight decay and the average of the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sautomed.config import TrainSettings

HEAD_RATE = 3.0  # ours: of the prompt head's learning rate; it begins to learn late, when the rate has fallen


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name, over the trained parameters."""
    groups = _groups(model, settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, settings.learning_rate, settings.momentum, nesterov=settings.nesterov)
    # one pass over all parameters, several times as quick on a CPU; Lightning clips no gradients of it under autocast
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=settings.precision == "32-true")


def _groups(model: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Give weight decay to the matrices of layers only, not to norms, biases and tokens, and the head its own rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}  # (is of the head, does not decay), in this order
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and name.endswith("weight")
            groups.setdefault((name.startswith("prompt_head."), not decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if is_free else settings.weight_decay,
            "lr": settings.learning_rate * (HEAD_RATE if is_head else 1.0),
        }
        for (is_head, is_free), parameters in sorted(groups.items(), key=lambda group: group[0])
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
