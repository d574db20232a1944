"""Read DICOM scans from a folder that is searched recursively, a zip, or a single multi-frame file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from sautomed.errors import GantryTilt
from sautomed.scans.dicom.damage import printable
from sautomed.scans.dicom.identity import ambiguity_of
from sautomed.scans.dicom.picker import ChosenSeries, choose_series
from sautomed.scans.dicom.pixels import predicted_type, read_voxels
from sautomed.scans.dicom.resample import RegularGrid, regular_grid, resample
from sautomed.scans.dicom.source import DicomSource
from sautomed.scans.dicom.tags import uid_of
from sautomed.scans.grid import NativeGrid
from sautomed.scans.stored import Geometry, ReadOptions, Stored


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """Read shape, affine and warnings of a series from its headers, without pixels; as `scans.read.read_geometry`.

    Raises:
        DataError: One of `errors.dicom`, NotAScan, UnsafeArchive, TruncatedFile, UnsupportedVoxels or BadGeometry.
    """
    chosen = choose_series(path, options)
    return _geometry(path, chosen, _grid(path, chosen))


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """Read a series as intensities such as HU; as `scans.read.read_stored`, with slope 1 and intercept 0.

    Raises:
        DataError: As `read_geometry`; TruncatedFile and DamagedDicom also for the pixels.
        MemoryShortage: The voxels do not fit into memory.
    """
    chosen = choose_series(path, options)
    grid = _grid(path, chosen)
    geometry = _geometry(path, chosen, grid)
    voxels, warnings = read_voxels(chosen.found.container, chosen.stack.slices)
    if grid is not None:
        voxels = resample(voxels, grid, path)
    geometry = replace(geometry, dtype=voxels.dtype, warnings=(*geometry.warnings, *warnings))
    return Stored(geometry, voxels.transpose(2, 1, 0))


def _grid(path: Path, chosen: ChosenSeries) -> RegularGrid | None:
    """Return the grid to resample onto; None if the slices form a regular grid."""
    if chosen.fault is None:
        return None
    return regular_grid(chosen.stack, path, tilted=isinstance(chosen.fault, GantryTilt))


def _geometry(path: Path, chosen: ChosenSeries, grid: RegularGrid | None) -> Geometry:
    slices = chosen.stack.slices
    source = DicomSource(
        path=path,
        members=tuple(item.file.member for item in slices),
        frames=tuple(item.frame for item in slices),
        series_uid=chosen.series.uid,
        regular=grid is None,
        ambiguity=ambiguity_of(item.file.identity for item in slices),
    )
    shape, affine = (chosen.stack.shape, chosen.stack.affine) if grid is None else (grid.shape, grid.affine)
    warnings = chosen.warnings
    if grid is not None and chosen.fault is not None:
        size = " x ".join(map(str, shape))
        warnings = (
            *warnings,
            f"{path}: {chosen.fault.fault} It was resampled onto a regular grid of {size} voxels; label maps "
            "made from it are on this grid, not on the slices of the files.",
        )
    dtype = np.dtype(predicted_type(slices))
    return Geometry(path, _format_of(chosen), NativeGrid(shape, affine, source=source), dtype, warnings)


def _format_of(chosen: ChosenSeries) -> str:
    """Return a description such as "DICOM CT, 20 files, JPEG 2000 Lossless"."""
    slices = chosen.stack.slices
    files = {item.file.member: item.file for item in slices}
    count = f"{len(files)} files" if len(files) > 1 else f"1 file of {len(slices)} frames"
    syntax = Counter(file.syntax for file in files.values()).most_common(1)[0][0]
    return f"DICOM {chosen.series.modality or 'of unknown modality'}, {count}, {_syntax_name(syntax)}"


def _syntax_name(syntax: str) -> str:
    name = printable(uid_of(syntax).name)
    if "JPEG 2000" in name:
        through = "High-Throughput " if "High-Throughput" in name else ""
        return f"{through}JPEG 2000{' Lossless' if 'Lossless' in name else ''}"
    return name.replace("Image Compression", "").replace("  ", " ").split(" (")[0].strip()
