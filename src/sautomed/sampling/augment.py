"""One spatial transform for all slices of a run, then changes of intensity: MONAI's, seeded by the example.

No mirroring: left and right kidneys are different labels.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandAffined,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
)
from torch import Tensor

from sautomed.config import AugmentSettings


class Augment:
    """Slices are channels to MONAI, so one draw moves them all alike."""

    def __init__(self, settings: AugmentSettings):
        self.settings = settings
        p = settings.intensity_probability
        self.intensity = Compose(
            [
                RandGaussianNoise(prob=p, mean=0.0, std=0.06),
                RandGaussianSmooth(prob=p / 2, sigma_x=(0.4, 1.0), sigma_y=(0.4, 1.0)),
                RandScaleIntensity(prob=p, factors=0.25),
                RandShiftIntensity(prob=p, offsets=0.08),
                RandAdjustContrast(prob=p, gamma=(0.7, 1.5)),
            ]
        )

    def __call__(
        self, images: Float[Tensor, "n h w"], labels: Int[Tensor, "n h w"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "n h w"], Int[Tensor, "n h w"]]:
        seed = int(rng.integers(2**31))
        if self.settings.probability > 0:
            moved = self._spatial(images.shape[-1]).set_random_state(seed)({"images": images, "labels": labels.float()})
            images, labels = _plain(moved["images"]), _plain(moved["labels"]).round().to(labels.dtype)
        changed = _plain(self.intensity.set_random_state(seed + 1)(images))
        return changed.clamp(0, 1), labels

    def _spatial(self, side: int) -> RandAffined:
        s = self.settings
        return RandAffined(
            keys=("images", "labels"),
            prob=s.probability,
            rotate_range=np.deg2rad(s.rotate_degrees),
            scale_range=(s.scale, s.scale),
            translate_range=(s.shift * side, s.shift * side),
            shear_range=(0.1, 0.1),
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        )


def _plain(image: Tensor) -> Tensor:
    """Without MONAI's metadata."""
    return image.as_tensor() if hasattr(image, "as_tensor") else torch.as_tensor(image)
