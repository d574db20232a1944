"""DICOM scans in: a folder that is searched through, a zip, or a single multi-frame file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from sautomed.errors import GantryTilt
from sautomed.scans.dicom.damage import printable
from sautomed.scans.dicom.picker import Choice, choose
from sautomed.scans.dicom.pixels import predicted_type, read_voxels
from sautomed.scans.dicom.resample import RegularGrid, regular_grid, resampled
from sautomed.scans.dicom.source import DicomSource
from sautomed.scans.dicom.tags import uid_of
from sautomed.scans.grid import NativeGrid
from sautomed.scans.stored import Geometry, ReadOptions, Stored


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """As `io.read_geometry`, of DICOM: every header is read, no pixels.

    Raises:
        DataError: One of `errors.dicom`, NotAScan, UnsafeArchive, TruncatedFile, UnsupportedVoxels or BadGeometry.
    """
    choice = choose(path, options)
    return _geometry(path, choice, _grid(path, choice))


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """As `io.read_stored`, of DICOM: intensities such as HU, so that slope and intercept are 1 and 0.

    Raises:
        DataError: As `read_geometry`; TruncatedFile and DamagedDicom also of the pixels.
        MemoryShortage: They do not fit into memory.
    """
    choice = choose(path, options)
    grid = _grid(path, choice)
    geometry = _geometry(path, choice, grid)
    voxels, notes = read_voxels(choice.found.place, choice.stack.slices)
    if grid is not None:
        voxels = resampled(voxels, grid, path)
    geometry = replace(geometry, dtype=voxels.dtype, warnings=(*geometry.warnings, *notes))
    return Stored(geometry, voxels.transpose(2, 1, 0))


def _grid(path: Path, choice: Choice) -> RegularGrid | None:
    """The grid to resample onto; None if the slices form one."""
    if choice.fault is None:
        return None
    return regular_grid(choice.stack, path, tilted=isinstance(choice.fault, GantryTilt))


def _geometry(path: Path, choice: Choice, grid: RegularGrid | None) -> Geometry:
    slices = choice.stack.slices
    source = DicomSource(
        place=path,
        members=tuple(item.file.member for item in slices),
        frames=tuple(item.frame for item in slices),
        series_uid=choice.series.uid,
        regular=grid is None,
    )
    shape, affine = (choice.stack.shape, choice.stack.affine) if grid is None else (grid.shape, grid.affine)
    notes = choice.warnings
    if grid is not None and choice.fault is not None:
        size = " x ".join(map(str, shape))
        notes = (
            *notes,
            f"{path}: {choice.fault.fault} It was resampled onto a regular grid of {size} voxels, and what is made "
            "from it lies on that grid, not on the slices of the files.",
        )
    kind = np.dtype(predicted_type(slices))
    return Geometry(path, _format_of(choice), NativeGrid(shape, affine, source=source), kind, notes)


def _format_of(choice: Choice) -> str:
    """For example "DICOM CT, 20 files, JPEG 2000 Lossless"."""
    slices = choice.stack.slices
    files = {item.file.member: item.file for item in slices}
    many = f"{len(files)} files" if len(files) > 1 else f"1 file of {len(slices)} frames"
    syntax = Counter(file.syntax for file in files.values()).most_common(1)[0][0]
    return f"DICOM {choice.series.modality or 'of unknown modality'}, {many}, {_syntax_name(syntax)}"


def _syntax_name(syntax: str) -> str:
    name = printable(uid_of(syntax).name)
    if "JPEG 2000" in name:
        through = "High-Throughput " if "High-Throughput" in name else ""
        return f"{through}JPEG 2000{' Lossless' if 'Lossless' in name else ''}"
    return name.replace("Image Compression", "").replace("  ", " ").split(" (")[0].strip()
