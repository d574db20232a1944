"""Low-rank adapters in SAM's attention; the rest of SAM stays frozen (Hu et al. 2021; SAMed).

SAM computes query, key and value with one fused layer. An adapter on that layer would change the keys too, so it is
split into three layers with the same weights, and the adapters are added to those that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionEncoder

from sautomed.errors import UnknownSetting

LoraTarget = Literal["q", "k", "v"]


class SplitQkv(nn.Module):
    """Query, key and value as three layers with the output of the fused one."""

    def __init__(self, fused: nn.Linear):
        super().__init__()
        self.q, self.k, self.v = (self._third(fused, third) for third in range(3))

    @staticmethod
    def _third(fused: nn.Linear, third: int) -> nn.Linear:
        rows = slice(third * fused.out_features // 3, (third + 1) * fused.out_features // 3)
        layer = nn.Linear(
            fused.in_features,
            fused.out_features // 3,
            bias=fused.bias is not None,
            device=fused.weight.device,
            dtype=fused.weight.dtype,
        )
        with torch.no_grad():
            layer.weight.copy_(fused.weight[rows])
            if fused.bias is not None:
                layer.bias.copy_(fused.bias[rows])
        return layer

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b 3*c"]:
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


def add_lora(
    vision: SamVisionEncoder,
    rank: int = 4,
    alpha: float | None = None,
    targets: Sequence[LoraTarget] = ("q", "v"),
) -> None:
    """Freeze the encoder and put adapters, its only trainable parameters, into every block.

    Each adapter's second matrix starts at zero, so that the encoder at first computes what it did before.

    Args:
        vision: Changed in place.
        rank: Columns of each adapter.
        alpha: The adapters' output is scaled by alpha / rank; None scales by 1, as SAMed does.
        targets: Which of query, key and value are adapted; the others stay exactly as they are.
    Raises:
        UnknownSetting: No rank, no target, or a target that does not exist.
        ValueError: The encoder has adapters already.
    """
    if rank < 1:
        raise UnknownSetting(
            f"LoRA needs a rank of at least 1, not {rank}.", where="lora.rank", cure="Use the paper's, 4."
        )
    if not targets or not set(targets) <= {"q", "k", "v"}:
        raise UnknownSetting(
            f"LoRA adapts some of q, k and v, not {list(targets)}.",
            where="lora.targets",
            cure="Use q and v, as the paper does.",
        )
    if any(isinstance(block.attn.qkv, SplitQkv) for block in vision.layers):
        raise ValueError("this encoder has LoRA adapters already")
    vision.requires_grad_(False)
    for block in vision.layers:
        block.attn.qkv = SplitQkv(block.attn.qkv).requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,  # declared int, used as a number
        lora_dropout=0.0,
        bias="none",
        target_modules=rf"layers\.\d+\.attn\.qkv\.({'|'.join(re.escape(t) for t in targets)})",
    )
    inject_adapter_in_model(config, vision)
