"""One spatial transform for all slices of a run, then changes of intensity: MONAI's, seeded by the example.

Ours does not mirror: left and right kidneys are different labels. The other recipes are in modules beside it.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Integer
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
from sautomed.training.augment_ma_sam import MaSamAugment
from sautomed.training.augment_samed import SamedAugment

AugmentRun = Callable[
    [Float[Tensor, "n h w"], Integer[Tensor, "n h w"], np.random.Generator],
    tuple[Float[Tensor, "n h w"], Integer[Tensor, "n h w"]],
]


def make_augment(settings: AugmentSettings) -> AugmentRun:
    """Return the augmentation that the settings name: it changes images in [0, 1] and labels of a run alike."""
    return RECIPES[settings.recipe](settings)


class Augment:
    """Our recipe. Slices are channels to MONAI, so one draw moves all of them alike."""

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
        self, images: Float[Tensor, "n h w"], labels: Integer[Tensor, "n h w"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "n h w"], Integer[Tensor, "n h w"]]:
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
    """Drop MONAI's metadata."""
    return image.as_tensor() if hasattr(image, "as_tensor") else torch.as_tensor(image)


class NoAugment:
    """No augmentation."""

    def __init__(self, settings: AugmentSettings):
        pass

    def __call__(
        self, images: Float[Tensor, "n h w"], labels: Integer[Tensor, "n h w"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "n h w"], Integer[Tensor, "n h w"]]:
        return images, labels


RECIPES: dict[str, Callable[[AugmentSettings], AugmentRun]] = {
    "sautomed": Augment,
    "samed": SamedAugment,
    "ma_sam": MaSamAugment,
    "none": NoAugment,
}
