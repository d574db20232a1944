"""Scanner effects on a clean image: blur, noise, and in MR the uneven sensitivity of the coils."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from sautomed.phantom.grid import Array, Lattice, smooth_field
from sautomed.phantom.parts import Variation


def scan_ct(clean: Array, lattice: Lattice, vary: Variation) -> Array:
    """Blur within the slices and add noise of 10 to 19 HU; returns int16 HU."""
    blurred = _blur(clean, vary.between(0.35, 0.65))
    noisy = blurred + _noise(clean.shape, 0.6, vary) * np.float32(vary.between(10, 19))
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)


def scan_mr(clean: Array, lattice: Lattice, vary: Variation) -> Array:
    """Apply blur, coil sensitivity, brightness that differs between slices, and Rician noise; returns int16."""
    blurred = _blur(clean, vary.between(0.4, 0.7))
    coil = np.exp(np.float32(vary.between(0.1, 0.25)) * smooth_field(lattice, 160, vary.rng))
    uneven = np.exp(0.04 * vary.rng.standard_normal((clean.shape[0], 1, 1), dtype=np.float32))
    sigma = np.float32(vary.between(12, 26))
    signal = blurred * coil * uneven
    real, imaginary = (sigma * _noise(clean.shape, 0.35, vary) for _ in range(2))
    noisy = np.hypot(signal + real, imaginary) * np.float32(vary.size(1, 0.15))
    return np.clip(np.rint(noisy), 0, 4095).astype(np.int16)


def _blur(image: Array, sigma_voxels: float) -> Array:
    return gaussian_filter(image, (0, sigma_voxels, sigma_voxels))


def _noise(shape: tuple[int, ...], sigma_voxels: float, vary: Variation) -> Array:
    """Return noise of unit variance, slightly correlated within the slice, as after reconstruction."""
    noise = _blur(vary.rng.standard_normal(shape, dtype=np.float32), sigma_voxels)
    return noise / noise.std()
