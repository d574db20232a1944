"""The command `info`: describe a scan, a DICOM folder, a file of prompts, a model folder or a run.

Reads headers, JSON and the voxels of a scan; loads no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sautomed.errors import ConstantImage, NonFiniteVoxels, NotAModel, NotAScan, SeveralSeries
from sautomed.errors.text import listed, listed_labels
from sautomed.inference.prompts.document import PromptsDocument
from sautomed.inference.prompts.file import ENDING, read_prompts
from sautomed.inference.shipped import shipped_or_itself
from sautomed.scans import dicom
from sautomed.scans.formats import FORMATS, format_of
from sautomed.scans.grid import choose_plane
from sautomed.scans.paths import read_json, refuse_missing
from sautomed.scans.read import DEFAULT_OPTIONS, read_geometry, read_scan
from sautomed.scans.stored import ReadOptions

Lines = list[tuple[str, str]]

_WEIGHTS = "model.safetensors"
_DESCRIPTIONS = ("config.json", "dataset.json", "metrics.json")


def describe(path: str | Path, options: ReadOptions = DEFAULT_OPTIONS) -> Lines:
    """Describe a scan, a folder or zip of DICOM files, a file of prompts, a model folder or a run.

    Args:
        path: A file or folder, or the name of a model that comes with the package.
        options: How to read a scan.
    Returns:
        Pairs of name and value.
    Raises:
        MissingFile: `path` does not exist.
        DataError: It is a file, but no scan that can be read. Constant or broken images are described nevertheless,
            and several DICOM series are listed.
        BadPrompts: It is named as a file of prompts, but is none that can be read.
        NotAModel: It is a folder, but holds no DICOM file, and is neither a model nor a run.
    """
    path = shipped_or_itself(Path(path))
    refuse_missing(path)
    if path.is_file():
        return _describe_file(path, options)
    if (path / _WEIGHTS).is_file():
        return [("kind", "model folder"), *_describe_model(path)]
    if next(path.glob("fold_*"), None) or next(path.glob(f"**/{_WEIGHTS}"), None):
        return _describe_run(path)
    try:
        return _describe_dicom(path, options)
    except NotAScan as error:
        raise NotAModel(
            f"is no scan (no DICOM file is in it), no model folder (no {_WEIGHTS}) and no run (no fold_* folder).",
            where=path,
            cure="Name a scan, a folder with DICOM files, or the folder that training wrote.",
        ) from error


def _describe_file(path: Path, options: ReadOptions) -> Lines:
    if path.name.endswith(ENDING):
        return [("kind", "prompts of a segmented scan"), ("file", str(path)), *_describe_prompts(read_prompts(path))]
    if format_of(path) is FORMATS["dicom"]:
        return _describe_dicom(path, options)
    return _describe_scan(path, options)


def _describe_prompts(document: PromptsDocument) -> Lines:
    depth, rows, columns = document.scan.shape
    carried = [f"{item.organ} from {item.index} to {_indices(item.slices)}" for item in document.carried]
    lines = [
        ("format", f"{document.schema_}, by sautomed {document.sautomed}"),
        ("scan", f"{document.scan.name}, {document.scan.plane}, {depth} slices of {rows} x {columns}, counted from 0"),
        ("scan's hash", document.scan.sha256 or "none"),
        ("model", document.model.id),
        ("model's hash", document.model.sha256 or "none"),
        ("walk", f"{document.walk}, {document.chunk} slices at a time"),
        *((organ, _describe_organ(document, organ)) for organ in document.organs),
    ]
    if carried:
        lines.append(("carried on", listed(carried)))
    if document.locked:
        lines.append(("locked", f"slices {_indices([item.index for item in document.locked])}"))
    return lines


def _describe_organ(document: PromptsDocument, organ: str) -> str:
    """Return where an organ was found and what was given for it; slices are counted from 0."""
    found = [part.index for part in document.slices if part.organs[organ].mask_box is not None]
    given = [f"{given.kind} on {t}" for (t, name), given in document.given().items() if name == organ]
    where = f"on slices {_indices(found)}" if found else "not found"
    return f"{where}; given: {listed(given)}" if given else where


def _indices(slices: Sequence[int]) -> str:
    """Return indices in order, consecutive ones as a range."""
    ranges: list[list[int]] = []
    for t in sorted(slices):
        if ranges and t == ranges[-1][1] + 1:
            ranges[-1][1] = t
        else:
            ranges.append([t, t])
    return listed(f"{low} to {high}" if low < high else f"{low}" for low, high in ranges)


def _describe_dicom(path: Path, options: ReadOptions) -> Lines:
    """Describe the scan that is chosen, unless there are several, and list the series."""
    rows = dicom.series_table(path, resample=options.resample)
    table = [("series", str(row)) for row in rows]
    usable = sum(row.usable for row in rows)
    if options.series is None and usable != 1:
        kind = "several DICOM series, name one with --series" if usable else "DICOM, without a usable series"
        return [("kind", kind), ("place", str(path)), *table]
    try:
        return [*_describe_scan(path, options), *table]
    except SeveralSeries as fault:
        return [("kind", "several DICOM series"), *table, ("fault", f"{fault.id} {fault}")]


def _describe_scan(path: Path, options: ReadOptions) -> Lines:
    geometry = read_geometry(path, options)
    plane = choose_plane(geometry.native)
    lines = [
        ("kind", "scan"),
        ("file", str(path)),
        ("format", geometry.format),
        ("shape", _times(geometry.shape)),
        ("spacing", f"{_times(geometry.spacing_mm)} mm"),
        ("orientation", f"{geometry.native.axis_codes} (directions of the three axes)"),
        (
            "first voxel",
            f"{', '.join(f'{place:.2f}' for place in geometry.affine[:3, 3])} mm (right, anterior, superior)",
        ),
        ("handedness", "right" if np.linalg.det(geometry.affine[:3, :3]) > 0 else "left"),
        ("plane", plane),
        ("stored as", str(geometry.dtype)),
    ]
    if geometry.names:
        lines.append(("labels", listed_labels(dict(sorted(geometry.names.items())))))
    try:
        volume = read_scan(path, plane, options)
    except (ConstantImage, NonFiniteVoxels) as fault:
        return [*lines, *_warning_lines(geometry.warnings), ("fault", f"{fault.id} {fault}")]
    low, middle, high = np.percentile(volume.array, [0.5, 50, 99.5])
    return [
        *lines,
        ("slices", f"{volume.array.shape[0]} of {volume.array.shape[1]} x {volume.array.shape[2]}"),
        ("intensity", f"{volume.array.min():g} to {volume.array.max():g}"),
        ("percentiles", f"{low:g} (0.5 %), {middle:g} (50 %), {high:g} (99.5 %)"),
        *_warning_lines(volume.warnings),
    ]


def _warning_lines(warnings: tuple[str, ...]) -> Lines:
    return [("warning", warning) for warning in warnings] or [("warnings", "none")]


def _describe_run(path: Path) -> Lines:
    weights = sorted(path.glob(f"**/{_WEIGHTS}"))
    folds = sorted(folder for folder in path.glob("fold_*") if folder.is_dir())
    lines = [("kind", "run"), ("folder", str(path)), ("folds", ", ".join(fold.name for fold in folds) or "none")]
    if not weights:
        lines.append(("models", "none yet"))
    for folder in (file.parent for file in weights):
        lines += [(f"{folder.relative_to(path)}: {name}", value) for name, value in _describe_model(folder)]
    return lines


def _describe_model(folder: Path) -> Lines:
    lines = [("folder", str(folder)), ("weights", _weights_line(folder / _WEIGHTS))]
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            content = read_json(folder / name, NotAModel)
            lines += list(_leaves(content, name.removesuffix(".json")))
    return lines


def _weights_line(path: Path) -> str:
    """Return the number of weights and the size, read from the file's header."""
    try:
        with safe_open(path, framework="numpy") as tensors:
            shapes = [tensors.get_slice(key).get_shape() for key in tensors.keys()]  # noqa: SIM118  not a dict
    except SafetensorError as error:
        raise NotAModel(
            f"is no safetensors file: {error}.", where=path, cure="Train or copy the model again."
        ) from error
    numbers = sum(prod(shape) for shape in shapes)
    return f"{numbers:,} numbers in {len(shapes)} tensors, {path.stat().st_size / 1e6:.1f} MB"


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield the values of nested objects under dotted names; lists on one line."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, list):
        yield name, listed(value)
    else:
        yield name, f"{value:.6g}" if isinstance(value, float) else str(value)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
