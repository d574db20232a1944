"""What a scanner does to a clean picture: blur, noise, and in MR the uneven sensitivity of its coils."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from sautomed.phantom.grid import Array, Lattice, smooth_field
from sautomed.phantom.parts import Dice


def scan_ct(clean: Array, lattice: Lattice, dice: Dice) -> Array:
    """Blur within the slice, grain of 10 to 19 HU; int16 HU."""
    blurred = _blur(clean, dice.between(0.35, 0.65))
    noisy = blurred + _grain(clean.shape, 0.6, dice) * np.float32(dice.between(10, 19))
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)


def scan_mr(clean: Array, lattice: Lattice, dice: Dice) -> Array:
    """Blur, coil sensitivity, brightness that differs from slice to slice, Rician noise; int16, arbitrary units."""
    blurred = _blur(clean, dice.between(0.4, 0.7))
    coil = np.exp(np.float32(dice.between(0.1, 0.25)) * smooth_field(lattice, 160, dice.rng))
    uneven = np.exp(0.04 * dice.rng.standard_normal((clean.shape[0], 1, 1), dtype=np.float32))
    sigma = np.float32(dice.between(12, 26))
    signal = blurred * coil * uneven
    real, imaginary = (sigma * _grain(clean.shape, 0.35, dice) for _ in range(2))
    noisy = np.hypot(signal + real, imaginary) * np.float32(dice.size(1, 0.15))
    return np.clip(np.rint(noisy), 0, 4095).astype(np.int16)


def _blur(image: Array, sigma_voxels: float) -> Array:
    return gaussian_filter(image, (0, sigma_voxels, sigma_voxels))


def _grain(shape: tuple[int, ...], sigma_voxels: float, dice: Dice) -> Array:
    """Noise of unit variance, a little correlated within the slice as reconstruction leaves it."""
    grain = _blur(dice.rng.standard_normal(shape, dtype=np.float32), sigma_voxels)
    return grain / grain.std()
