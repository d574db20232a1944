"""What a file holds before it is turned and judged: where the formats meet.

Each format is two functions, `read_geometry(path, options) -> Geometry` and `read_stored(path, options) -> Stored`.
Warnings are values, kept with what was read; nothing is printed or logged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.grid import NativeGrid


@dataclass(frozen=True)
class ReadOptions:
    """What a user may say about a scan that a file alone leaves open.

    Args:
        series: Of DICOM: a number of the series table, a SeriesInstanceUID, or a part of a description.
        frame: Of a file with several volumes, which one, from 0.
        channel: Of a file with several values per voxel (colours), which one, from 0.
        resample: Bring a grid that is not regular (gantry tilt, uneven gaps, shear) onto one that is, instead of
            refusing it.
        assume_spacing: Take the spacings of a NIfTI header that gives no orientation.
    """

    series: str | None = None
    frame: int | None = None
    channel: int | None = None
    resample: bool = False
    assume_spacing: bool = False


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a file says about itself without its voxels.

    Args:
        path: The file, or the folder or archive of a DICOM series.
        format: For example "NIfTI-1, gzip" or "DICOM CT, 20 files, JPEG 2000 Lossless".
        native: Shape and affine in the file's axis order.
        dtype: Type of the stored voxels.
        warnings: What is odd, as whole sentences that name the file.
    """

    path: Path
    format: str
    native: NativeGrid
    dtype: np.dtype[Any]
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the file's three axes."""
        return self.native.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along the file's axes."""
        return self.native.spacing_mm

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4, index in the file's axis order to RAS mm."""
        return self.native.affine


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels as they are stored, in the file's axis order.

    Args:
        geometry: What the file says about itself; its warnings hold for the voxels too.
        voxels: (native.shape), any integer or float type. Intensity = voxel * slope + intercept.
        slope: 1 where the format scales nothing, or scaled already.
        intercept: Likewise 0.
    """

    geometry: Geometry
    voxels: NDArray[Any]
    slope: float = 1.0
    intercept: float = 0.0
