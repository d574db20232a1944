"""MA-SAM's augmentation: turns, gamma and an erased patch at random, then two of ten further changes.

All slices of a run change alike. Strengths and chances are those of the public code (Chen et al. 2024); there each
change also rounds the images to 256 grey levels, here only the one that is meant to coarsen them does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as nnf
from jaxtyping import Float, Integer
from torch import Tensor

from sautomed.config import AugmentSettings

Pair = tuple[Float[Tensor, "n h w"], Integer[Tensor, "n h w"]]  # images and labels
Change = Callable[[Float[Tensor, "n h w"], Integer[Tensor, "n h w"], np.random.Generator], Pair]

CHANCE = 0.5
LARGEST_ANGLE = 15  # degrees either way, drawn in whole degrees
GAMMA = (0.5, 3.5)  # brightens above 1: the exponent is its inverse
ERASED_AREA, ERASED_RATIO = (0.02, 0.05), (0.3, 3.3)  # of the image; width to height
DRAWN = 2  # of the ten below
SHEAR, SCALE, SHIFT = (-0.3, 0.3), (0.8, 1.2), (-0.2, 0.2)
CONTRAST, BRIGHTNESS, SHARPNESS = (0.7, 1.3), (0.7, 1.3), (0.1, 1.9)
BITS = (4, 8)


class MaSamAugment:
    """Each of four changes with a chance of one half, then two different ones of ten.

    It mirrors left into right and scales from the upper left corner, as the authors' code does. The numbers in the
    settings are another recipe's and change nothing here.
    """

    def __init__(self, settings: AugmentSettings):
        pass

    def __call__(
        self, images: Float[Tensor, "n h w"], labels: Integer[Tensor, "n h w"], rng: np.random.Generator
    ) -> Pair:
        for change in (_turn, _rotate, _gamma, _erase):
            if rng.random() > CHANCE:
                images, labels = change(images, labels, rng)
        for choice in rng.choice(len(TEN), size=DRAWN, replace=False):
            images, labels = TEN[choice](images, labels, rng)
        return images.clamp(0, 1), labels


def _turn(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
    """Turn by 0 to 3 quarters, then mirror rows or columns."""
    turns, axis = int(rng.integers(4)), int(rng.integers(2))
    return turned(images, turns, axis), turned(labels, turns, axis)


def turned(slices: Tensor, turns: int, axis: int) -> Tensor:
    return torch.rot90(slices, turns, dims=(1, 2)).flip(1 + axis)


def _rotate(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
    """Rotate about the centre, nearest pixel for images too."""
    angle = np.deg2rad(int(rng.integers(-LARGEST_ANGLE, LARGEST_ANGLE)))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    matrix = [[cos, -sin, 0.0], [sin, cos, 0.0]]
    return moved(images, matrix, "nearest"), moved(labels, matrix, "nearest")


def _gamma(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
    return images.clamp(0, 1) ** (1 / rng.uniform(*GAMMA)), labels


def _erase(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
    """Replace one patch by noise, the same in all slices, labelled background."""
    h, w = images.shape[1:]
    area, ratio = rng.uniform(*ERASED_AREA) * h * w, rng.uniform(*ERASED_RATIO)
    wide, high = int(np.sqrt(area * ratio)), int(np.sqrt(area / ratio))  # at most 0.41 of a side
    top, left = int(rng.integers(h - high + 1)), int(rng.integers(w - wide + 1))
    inside = (slice(None), slice(top, top + high), slice(left, left + wide))
    images, labels = images.clone(), labels.clone()
    images[inside] = torch.from_numpy(rng.random((high, wide), dtype=np.float32))
    labels[inside] = 0
    return images, labels


def moved(slices: Tensor, matrix: list[list[float]], mode: str) -> Tensor:
    """Sample each output place from the input at `matrix` (2 x 3) times (x, y, 1), in half sides from the centre.

    Zero comes from outside. For labels too, with the mode "nearest".
    """
    grid = nnf.affine_grid(torch.tensor([matrix]), [1, len(slices), *slices.shape[1:]], align_corners=False)
    found = nnf.grid_sample(slices[None].float(), grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return found.to(slices.dtype)


def _affine(limits: tuple[float, float], matrix: Callable[[float], list[list[float]]]) -> Change:
    def change(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
        drawn = matrix(rng.uniform(*limits))
        return moved(images, drawn, "bilinear"), moved(labels, drawn, "nearest")

    return change


def _intensity(limits: tuple[float, float], function: Callable[[Tensor, float], Tensor]) -> Change:
    def change(images: Tensor, labels: Tensor, rng: np.random.Generator) -> Pair:
        return function(images.clamp(0, 1), rng.uniform(*limits)).clamp(0, 1), labels

    return change


def contrasted(images: Tensor, factor: float) -> Tensor:
    """Move values away from each slice's mean, or towards it."""
    mean = images.mean((1, 2), keepdim=True)
    return mean + factor * (images - mean)


def brightened(images: Tensor, factor: float) -> Tensor:
    return factor * images


def sharpened(images: Tensor, factor: float) -> Tensor:
    """Move values away from a smoothed image (3 x 3, the middle counts 5 times), or towards it; border pixels stay."""
    kernel = torch.ones(1, 1, 3, 3)
    kernel[..., 1, 1] = 5
    smooth = images.clone()
    smooth[:, 1:-1, 1:-1] = nnf.conv2d(images[:, None], kernel / kernel.sum())[:, 0]
    return smooth + factor * (images - smooth)


def posterized(images: Tensor, bits: float) -> Tensor:
    """Keep only the first 4 to 8 of 8 bits, each number equally likely."""
    coarse = 2 ** (8 - min(int(bits), 8))
    return ((images * 255).int() // coarse * coarse).float() / 255


TEN: tuple[Change, ...] = (
    _affine(SHEAR, lambda v: [[1.0, v, 0.0], [0.0, 1.0, 0.0]]),
    _affine(SHEAR, lambda v: [[1.0, 0.0, 0.0], [v, 1.0, 0.0]]),
    _affine(SCALE, lambda v: [[v, 0.0, v - 1], [0.0, v, v - 1]]),
    _affine(SHIFT, lambda v: [[1.0, 0.0, 2 * v], [0.0, 1.0, 0.0]]),
    _affine(SHIFT, lambda v: [[1.0, 0.0, 0.0], [0.0, 1.0, 2 * v]]),
    _intensity((BITS[0], BITS[1] + 0.99), posterized),
    _intensity(CONTRAST, contrasted),
    _intensity(BRIGHTNESS, brightened),
    _intensity(SHARPNESS, sharpened),
    lambda images, labels, rng: (images, labels),
)
