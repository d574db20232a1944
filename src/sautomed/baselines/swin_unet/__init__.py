"""Swin-Unet: a Swin transformer as the encoder of a U-Net, and its mirror as the decoder (Cao et al. 2022)."""

from sautomed.baselines.swin_unet.network import SwinUnet, build

__all__ = ["SwinUnet", "build"]
