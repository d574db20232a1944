"""Content of a scan file before it is oriented and checked, the same for all formats.

Each format is two functions, `read_geometry(path, options) -> Geometry` and `read_stored(path, options) -> Stored`.
Warnings are values, kept with the content; nothing is printed or logged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.grid import NativeGrid


@dataclass(frozen=True)
class ReadOptions:
    """Choices of a user about a scan whose file leaves something open.

    Args:
        series: DICOM series: its number in the series table, its SeriesInstanceUID, or a part of its description.
        frame: Index from 0 of the volume, in a file with several.
        channel: Index from 0 of the value, in a file with several values per voxel (colours).
        resample: Resample an irregular grid (gantry tilt, uneven gaps, shear) to a regular one instead of refusing it.
        assume_spacing: Accept a header that gives spacings but no orientation.
    """

    series: str | None = None
    frame: int | None = None
    channel: int | None = None
    resample: bool = False
    assume_spacing: bool = False


@dataclass(frozen=True, eq=False)
class Geometry:
    """Header of a scan, in the terms of every format.

    Args:
        path: The file, or the folder or archive of a DICOM series.
        format: For example "NIfTI-1, gzip" or "DICOM CT, 20 files, JPEG 2000 Lossless"; for display.
        native: Shape and affine in the file's axis order.
        dtype: Type of the stored voxels.
        warnings: What is odd, as whole sentences that name the file.
        names: Names of label values, of a label map whose header gives them.
        partial: Whether it is a label map in a format that leaves out slices without labels.
        voxel_path: File of the voxels, if the header is detached from them.
    """

    path: Path
    format: str
    native: NativeGrid
    dtype: np.dtype[Any]
    warnings: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    partial: bool = False
    voxel_path: Path | None = None

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
        geometry: The header, with the warnings about the voxels too.
        voxels: (native.shape), any integer or float type. Intensity = voxel * slope + intercept.
        slope: 1 if there is no scaling, or it is applied already.
        intercept: Likewise 0.
    """

    geometry: Geometry
    voxels: NDArray[Any]
    slope: float = 1.0
    intercept: float = 0.0
