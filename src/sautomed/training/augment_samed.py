"""SAMed's augmentation, which TransUNet and Swin-Unet share: quarter turns with a mirroring, or a small rotation."""

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy import ndimage
from torch import Tensor

from sautomed.config import AugmentSettings

LARGEST_ANGLE = 20  # degrees either way, drawn in whole degrees


class SamedAugment:
    """Turn half of the examples by 0 to 3 quarters and mirror rows or columns; rotate a quarter of them a little.

    It mirrors left into right, which the authors' code does too. The rotation takes the nearest pixel, of images as of
    labels, and zeros from outside. The numbers in the settings are another recipe's and change nothing here.
    Source: Zhang and Liu 2023, the code of TransUNet before it (Chen et al. 2021).
    """

    def __init__(self, settings: AugmentSettings):
        pass

    def __call__(
        self, images: Float[Tensor, "n h w"], labels: Integer[Tensor, "n h w"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "n h w"], Integer[Tensor, "n h w"]]:
        if rng.random() > 0.5:
            turns, axis = int(rng.integers(4)), int(rng.integers(2))
            return _turned(images, turns, axis), _turned(labels, turns, axis)
        if rng.random() > 0.5:
            angle = int(rng.integers(-LARGEST_ANGLE, LARGEST_ANGLE))
            return _rotated(images, angle), _rotated(labels, angle)
        return images, labels


def _turned(slices: Tensor, turns: int, axis: int) -> Tensor:
    return torch.rot90(slices, turns, dims=(1, 2)).flip(1 + axis)


def _rotated(slices: Tensor, angle: int) -> Tensor:
    return torch.from_numpy(ndimage.rotate(slices.numpy(), angle, axes=(1, 2), reshape=False, order=0))
