"""Read scans and label maps of any format, oriented and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from sautomed.errors import MemoryShortage, UnknownLabels
from sautomed.errors.text import listed, listed_labels
from sautomed.scans.formats import FormatReader, format_of
from sautomed.scans.grid import Plane, choose_plane, orient
from sautomed.scans.label_names import match_names
from sautomed.scans.orthogonal import orthogonal_geometry, orthogonal_stored
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.values import intensities, require_numbers, whole_numbers
from sautomed.scans.volume import LabelMap, Volume

DEFAULT_OPTIONS = ReadOptions()


def read_geometry(path: str | Path, options: ReadOptions = DEFAULT_OPTIONS, *, labels: bool = False) -> Geometry:
    """Read the header of a scan or label map, without its voxels.

    Args:
        labels: Whether it is a label map, which may be a DICOM segmentation.
    Raises:
        DataError: MissingFile, NotAScan, TruncatedFile, UnsupportedVoxels, NotThreeD, BadGeometry, UnknownSpacing,
            ShearedGrid, or a fault of DICOM.
    """
    path = Path(path)
    geometry = _reader(path, labels=labels).read_geometry(path, options)
    require_numbers(geometry.dtype, path)
    return orthogonal_geometry(geometry, options)


def read_stored(path: str | Path, options: ReadOptions = DEFAULT_OPTIONS, *, labels: bool = False) -> Stored:
    """Read the voxels as they are stored, in the file's axis order.

    Args:
        labels: Whether it is a label map: it may be a DICOM segmentation, and if `options` ask for resampling, the
            nearest voxel's label is taken.
    Raises:
        DataError: As `read_geometry`.
        MemoryShortage: The voxels do not fit into memory.
    """
    path = Path(path)
    with _within_memory(path):
        stored = _reader(path, labels=labels).read_stored(path, options)
        require_numbers(stored.voxels.dtype, path)
        return orthogonal_stored(stored, options, nearest=labels)


def _reader(path: Path, *, labels: bool) -> FormatReader:
    found = format_of(path)
    return found.label_reader if labels else found.reader


def read_scan(
    path: str | Path, plane: Plane | Literal["auto"] = "auto", options: ReadOptions = DEFAULT_OPTIONS
) -> Volume:
    """Read a scan, with the scaling of its header applied.

    The format is recognised by the content of the file, so plain NIfTI named .gz is read, with a warning.

    Args:
        path: A file of any readable format with one 3D volume (further axes of length 1 are dropped), a folder with
            DICOM files, or a zip of one.
        plane: Plane of the slices; "auto" takes the one across the widest spacing, or that of a single slice.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels or ConstantImage.
        MemoryShortage: The voxels do not fit into memory.
    """
    stored = read_stored(path, options)
    geometry = stored.geometry
    with _within_memory(geometry.path):
        scaled, repairs = intensities(stored)
        del stored  # a large scan should not be in memory three times
        chosen = choose_plane(geometry.native, plane)
        turned, affine = orient(scaled, geometry.native, chosen)
        notes = (*geometry.warnings, *repairs)
        return Volume(np.ascontiguousarray(turned), affine, geometry.native, chosen, geometry.path, notes)


def read_labels(
    path: str | Path,
    plane: Plane | Literal["auto"] = "auto",
    names: dict[int, str] | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> LabelMap:
    """Read a label map; floats are accepted if they are whole numbers within `values.LABEL_TOLERANCE`.

    Args:
        path: As for `read_scan`; or a DICOM segmentation, which may cover a part of its series.
        plane: Plane of the scan it belongs to.
        names: Name of each label to read, without the background; values of a file that names its own are renumbered
            to them. None keeps the file's values and names, and calls others "label 1" and so on.
    Raises:
        DataError: As `read_geometry`, and NonFiniteVoxels, NotIntegerLabels; UnmatchedNames or UnknownLabels if `names`
            lacks a label.
        MemoryShortage: The voxels do not fit into memory.
    """
    stored = read_stored(path, options, labels=True)
    native = stored.geometry.native
    with _within_memory(stored.geometry.path):
        whole = whole_numbers(stored)
        chosen = choose_plane(native, plane)
        turned, affine = orient(whole, native, chosen)
        names_of_file, partial = dict(stored.geometry.names), stored.geometry.partial
        labels = LabelMap(np.ascontiguousarray(turned), affine, native, chosen, names_of_file, partial)
        if names is not None:
            labels = match_names(labels, names, where=path)
            refuse_unknown_values(labels, where=path)
            return labels
    nameless = {value: f"label {value}" for value in labels.unknown_values()}
    return replace(labels, names=labels.names | nameless)


def refuse_unknown_values(
    labels: LabelMap, *, where: str | Path, declared_in: str = "dataset.json", cure: str = ""
) -> None:
    """Raise UnknownLabels, with values and voxel counts, if `labels` holds values that its names lack.

    Args:
        declared_in: Source of the names, for the message.
        cure: By default to name the values there, or to correct the label map.
    """
    unknown = labels.unknown_values()
    if not unknown:
        return
    counts = listed(f"{value} ({count} voxels)" for value, count in unknown.items())
    known = listed_labels({0: "background"} | dict(sorted(labels.names.items())))
    raise UnknownLabels(
        f"holds label values that have no name in {declared_in}: {counts}. Known are: {known}.",
        where=where,
        cure=cure or f"Add the labels to {declared_in}, or correct the label map.",
    )


@contextmanager
def _within_memory(path: Path) -> Iterator[None]:
    """Raise MemoryShortage in place of a MemoryError."""
    try:
        yield
    except MemoryError as error:
        raise MemoryShortage("does not fit into memory.", where=path, cure="Use a larger machine.") from error
