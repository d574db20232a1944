"""SAM's image encoder as a trunk: from images in [0, 1] to features at stride 16 (Liang et al. 2024, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionEncoder

from sautomed.config import SamTrunkSettings
from sautomed.model.sam.keys import CHANNELS, PATCH, check_image_size
from sautomed.model.sam.lora import LoraTarget, add_lora
from sautomed.model.sam.network import Sam
from sautomed.model.sam.parts import call_block, checkpoint_block, encode
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.sam.weights import InputNorm, read_sam_weights

# SAM's own, for RGB in 0..255 (ImageNet's mean and standard deviation).
SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)


class SamTrunk(nn.Module):
    """A frozen SAM image encoder with trainable LoRA adapters.

    Args:
        vision: From `load_sam(...).vision`; changed in place (frozen, adapters put in).
        input_norm: Input scaling of the encoder: "sam" or "medsam" (see `SamWeights`).
        lora_rank: Of the adapters; 0 adds none, and the whole trunk is frozen.
        lora_alpha: See `add_lora`.
        lora_targets: See `add_lora`.
        gradient_checkpointing: Keep only each block's input and compute the block again in the backward
            pass. One 512 px image through ViT-B on a CPU: 1.3 GB instead of 2.1 GB, a tenth slower.
    Raises:
        UnknownSetting: The encoder's image size is not a multiple of 16 from 128 to 1024, or LoRA cannot be added.
    """

    channels = CHANNELS
    stride = PATCH
    fine_channels: tuple[int, ...] = ()

    def __init__(
        self,
        vision: SamVisionEncoder,
        input_norm: InputNorm = "sam",
        lora_rank: int = 4,
        lora_alpha: float | None = None,
        lora_targets: Sequence[LoraTarget] = ("q", "v"),
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        check_image_size(vision.config.image_size)
        self.image_size: int = vision.config.image_size
        self.run_block = checkpoint_block if gradient_checkpointing else call_block
        self.vision = vision.requires_grad_(False)
        if lora_rank:
            add_lora(vision, lora_rank, lora_alpha, lora_targets)
        mean, std = (SAM_MEAN, SAM_STD) if input_norm == "sam" else ((0.0,) * 3, (255.0,) * 3)
        # In units of [0, 1]. Not part of the state dict: they follow from `input_norm`.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) / 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) / 255, persistent=False)

    def forward(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 256 h w"]:
        """Return features of images in [0, 1]; h = w = s / 16.

        Raises:
            ValueError: The images are of another size than the encoder.
        """
        return encode(self.vision, self.normalise(images), self.run_block)

    def normalise(self, images: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
        """Scale images in [0, 1] as the weights expect them."""
        return (images - self.mean) / self.std


def sam_trunk(settings: SamTrunkSettings, image_size: int) -> tuple[SamTrunk, Sam, PretrainedTrunk]:
    """Build the trunk that the settings name; return also its SAM (for the decoder) and the source of the weights.

    Raises:
        ModelError: The weights cannot be used.
        UnknownSetting: SAM cannot take images of this size.
    """
    check_image_size(image_size)
    weights = read_sam_weights(settings.weights, settings.input_norm)
    sam = Sam.from_weights(weights, image_size)
    lora = settings.lora
    trunk = SamTrunk(sam.vision, sam.input_norm, lora.rank, lora.alpha, lora.targets, settings.gradient_checkpointing)
    return trunk, sam, PretrainedTrunk(weights.source, weights.sha256, weights.input_norm)
