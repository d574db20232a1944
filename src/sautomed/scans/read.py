"""Scans and label maps in, oriented and checked, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from sautomed.errors import MemoryShortage, UnknownLabels
from sautomed.scans.formats import format_of
from sautomed.scans.grid import Plane, choose_plane, orient
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.straight import straight_geometry, straight_stored
from sautomed.scans.values import intensities, require_numbers, whole_numbers
from sautomed.scans.volume import LabelMap, Volume

PLAIN = ReadOptions()


def read_geometry(path: str | Path, options: ReadOptions = PLAIN) -> Geometry:
    """Read what stands before the voxels of a scan or label map.

    Raises:
        DataError: MissingFile, NotAScan, TruncatedFile, UnsupportedVoxels, NotThreeD, BadGeometry, UnknownSpacing,
            ShearedGrid, or a fault of DICOM.
    """
    path = Path(path)
    found = format_of(path).read_geometry(path, options)
    require_numbers(found.dtype, path)
    return straight_geometry(found, options)


def read_stored(path: str | Path, options: ReadOptions = PLAIN, *, labels: bool = False) -> Stored:
    """Read the voxels as they are stored, in the file's axis order.

    Args:
        labels: Whether it is a label map: if `options` ask for resampling, it takes the nearest voxel's label.
    Raises:
        DataError: As `read_geometry`.
        MemoryShortage: It does not fit into memory.
    """
    path = Path(path)
    with _within_memory(path):
        stored = format_of(path).read_stored(path, options)
        require_numbers(stored.voxels.dtype, path)
        return straight_stored(stored, options, nearest=labels)


def read_scan(path: str | Path, plane: Plane | Literal["auto"] = "auto", options: ReadOptions = PLAIN) -> Volume:
    """Read a scan, scaled as its header says.

    A file is known by its content, so plain NIfTI named .gz is read, with a warning.

    Args:
        path: A file of any format that is read, with one 3D volume (further axes of length 1 are dropped), a folder
            with DICOM files, or a zip of one.
        plane: Which plane the slices shall be; "auto" takes the one that was scanned.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels or ConstantImage.
        MemoryShortage: It does not fit into memory.
    """
    stored = read_stored(path, options)
    geometry = stored.geometry
    with _within_memory(geometry.path):
        scaled, repairs = intensities(stored)
        del stored  # a large scan should not lie in memory three times
        chosen = choose_plane(geometry.native, plane)
        turned, affine = orient(scaled, geometry.native, chosen)
        notes = (*geometry.warnings, *repairs)
        return Volume(np.ascontiguousarray(turned), affine, geometry.native, chosen, geometry.path, notes)


def read_labels(
    path: str | Path,
    plane: Plane | Literal["auto"] = "auto",
    names: dict[int, str] | None = None,
    options: ReadOptions = PLAIN,
) -> LabelMap:
    """Read a label map; floats are taken if they are whole numbers within `values.LABEL_TOLERANCE`.

    Args:
        path: As for `read_scan`.
        plane: The plane of the scan it belongs to.
        names: Name of each label without the background; None names every value that occurs after itself.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels, NotIntegerLabels, or UnknownLabels if `names` lacks a value.
        MemoryShortage: It does not fit into memory.
    """
    stored = read_stored(path, options, labels=True)
    native = stored.geometry.native
    with _within_memory(stored.geometry.path):
        whole = whole_numbers(stored)
        chosen = choose_plane(native, plane)
        turned, affine = orient(whole, native, chosen)
        labels = LabelMap(np.ascontiguousarray(turned), affine, native, chosen, names or {})
    if names is not None:
        refuse_unknown_values(labels, where=path)
        return labels
    found_names = {value: f"label {value}" for value in labels.voxel_counts() if value != 0}
    return LabelMap(labels.array, affine, native, chosen, found_names)


def refuse_unknown_values(labels: LabelMap, *, where: str | Path, declared_in: str = "dataset.json") -> None:
    """Raise UnknownLabels, with value and voxel count, if `labels` holds values that its names lack."""
    unknown = labels.unknown_values()
    if not unknown:
        return
    listed = ", ".join(f"{value} ({count} voxels)" for value, count in unknown.items())
    known = ", ".join(f"{value} {name}" for value, name in sorted(labels.names.items()))
    raise UnknownLabels(
        f"holds label values that have no name in {declared_in}: {listed}. Known are: 0 background, {known}.",
        where=where,
        cure=f"Add the labels to {declared_in}, or correct the label map."
        if declared_in == "dataset.json"
        else "Correct the label map, or say with --layout how the folder is meant.",
    )


@contextmanager
def _within_memory(path: Path) -> Iterator[None]:
    """Name the fault of a scan that is larger than the memory, wherever on the way that shows."""
    try:
        yield
    except MemoryError as error:
        raise MemoryShortage(
            "does not fit into the memory that there is.", where=path, cure="Use a larger machine."
        ) from error
