"""Data sets in nnU-Net's raw layout with the split, and its predictions with our labels on the scans' grids.

Does not import nnU-Net.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from sautomed.datasets import Case, Dataset
from sautomed.datasets.dataset import FileReader
from sautomed.datasets.folds import Fold
from sautomed.errors import ExternalFailed
from sautomed.errors.text import listed
from sautomed.scans import read_labels
from sautomed.scans.files import atomic_write, write_json
from sautomed.scans.grid import NativeGrid, Plane, orient, unorient
from sautomed.scans.volume import LabelMap, Volume, require_same_grid
from sautomed.scans.write import write_image

NUMBER = 1  # of the data set; each training has folders of its own, so they can all have this one
_ENDING = ".nii.gz"
_READER = "NibabelIOWithReorient"  # ours: scans of one data set may have different orders of axes
_PLANE: Plane = "axial"  # any works, as it is undone on writing
_SPACING_TOLERANCE = 1e-3  # relative; ours: header fields are float32


def raw_name(dataset: Dataset) -> str:
    """Return `Dataset001_NAME`, where NAME has letters and digits only."""
    return f"Dataset{NUMBER:03d}_{re.sub('[^A-Za-z0-9]+', '', dataset.name) or 'cases'}"


def class_numbers(labels: Mapping[int, str]) -> dict[int, int]:
    """Return nnU-Net's consecutive number of each of our label values."""
    return {value: number for number, value in enumerate(sorted(labels), start=1)}


def write_raw(dataset: Dataset, cases: Iterable[str], folder: Path) -> Path:
    """Write cases with their label maps, in place of those of an earlier attempt.

    Args:
        cases: Ids.
        folder: nnU-Net's `nnUNet_raw`.
    Returns:
        The data set's folder in it.
    Raises:
        DataError: As `Dataset.load`.
        UnwritableTarget: `folder` cannot be written to.
    """
    root = folder / raw_name(dataset)
    wanted = sorted(set(cases))
    by_id = {case.id: case for case in dataset.cases}
    numbers = class_numbers(dataset.labels)
    for name in wanted:
        volume, labels = dataset.load(by_id[name], _PLANE)
        _link_or_write(dataset, by_id[name].image, volume, image_path(root, name))
        target = root / "labelsTr" / f"{name}{_ENDING}"
        source = by_id[name].label
        if source is not None and all(ours == theirs for ours, theirs in numbers.items()):
            _link_or_write(dataset, source, labels, target)
        else:
            _write(_renumber(labels.to_smallest_native(), numbers), labels.native, target)
    write_json(root / "dataset.json", _description(dataset, len(wanted)))
    return root


def write_scan(dataset: Dataset, case: Case, path: Path) -> None:
    """Write a scan to predict, without label map. Raises DataError as `Dataset.read_image`, and UnwritableTarget."""
    _link_or_write(dataset, case.image, dataset.read_image(case, _PLANE), path)


def image_path(root: Path, case: str) -> Path:
    """Return the file of a case's scan in a raw data set."""
    return root / "imagesTr" / f"{case}_0000{_ENDING}"


def write_split(fold: Fold, root: Path) -> None:
    """Write the fold as the only one, number 0, to a folder of nnU-Net's preprocessed data."""
    write_json(root / "splits_final.json", [{"train": list(fold.train), "val": list(fold.val)}])


def convert_prediction(prediction: Path, dataset: Dataset, case: Case, output: Path) -> None:
    """Write a prediction of nnU-Net with our label values on the grid of the scan, atomically.

    Raises:
        ExternalFailed: It contains an unknown class.
        GridMismatch: Its grid is not that of the scan.
        UnwritableTarget: `output` cannot be written to.
    """
    values = {number: value for value, number in class_numbers(dataset.labels).items()}
    predicted = read_labels(prediction, _PLANE)
    unknown = sorted(predicted.voxel_counts().keys() - values.keys() - {0})
    if unknown:
        raise ExternalFailed(
            f"nnU-Net predicted classes {listed(unknown)}, but was trained on {listed(sorted(values))}.",
            where=prediction,
            cure="Train it again on this data set.",
        )
    grid = _grid_of(dataset, case)
    require_same_grid(predicted, grid, first_name="prediction", second_name="scan", where=prediction)
    replace(grid, array=_renumber(predicted.array, values), names=dict(dataset.labels)).save(output)


def _grid_of(dataset: Dataset, case: Case) -> LabelMap:
    """Return an empty label map on the grid of a scan; it takes no memory."""
    native = dataset.geometry(case).native
    turned, affine = orient(np.broadcast_to(np.uint8(0), native.shape), native, _PLANE)
    return LabelMap(turned, affine, native, _PLANE)


def _renumber(array: NDArray[np.unsignedinteger[Any]], numbers: Mapping[int, int]) -> NDArray[Any]:
    table = np.zeros(max(*numbers, int(array.max(initial=0))) + 1, np.uint16)
    for old, new in numbers.items():
        table[old] = new
    renumbered = table[array]
    return renumbered.astype(np.uint8) if table.max() <= 255 else renumbered


def _description(dataset: Dataset, count: int) -> dict[str, Any]:
    numbers = class_numbers(dataset.labels)
    return {
        "channel_names": {"0": dataset.channel},
        "labels": {"background": 0, **{dataset.labels[value]: number for value, number in numbers.items()}},
        "numTraining": count,
        "file_ending": _ENDING,
        "name": raw_name(dataset),
        "overwrite_image_reader_writer": _READER,
    }


def _link_or_write(dataset: Dataset, source: Path, read: Volume | LabelMap, target: Path) -> None:
    """Link the file if nnU-Net reads the same from it as we do; otherwise write what we read."""
    if not _nnunet_reads_the_same(dataset, source, read):
        array = read.to_native() if isinstance(read, LabelMap) else unorient(read.array, read.native, read.plane)
        _write(array, read.native, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with suppress(OSError, NotImplementedError):  # an operating system or a drive without links
        target.symlink_to(source.resolve())
        return
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def _nnunet_reads_the_same(dataset: Dataset, source: Path, read: Volume | LabelMap) -> bool:
    """Whether nibabel, with which nnU-Net reads, finds the same voxels and the same affine in the file."""
    if not isinstance(dataset.reader, FileReader) or not source.name.endswith(_ENDING):
        return False
    if read.native.stored_affine is not None or (isinstance(read, Volume) and read.warnings):
        return False
    try:
        image = nibabel.load(source)
    except ImageFileError:  # another format under this name
        return False
    header = image.header
    kind = header.get_data_dtype()
    if isinstance(read, LabelMap) and (kind.kind not in "iu" or header.get_slope_inter() not in ((None, None), (1, 0))):
        return False  # label values are integers only after rounding
    return (
        image.shape == read.native.shape
        and np.issubdtype(kind, np.number)
        and np.allclose(image.affine, read.native.affine, atol=1e-4)
        and np.allclose(header.get_zooms(), read.native.spacing_mm, rtol=_SPACING_TOLERANCE)
    )


def _write(array: NDArray[Any], native: NativeGrid, target: Path) -> None:
    """Write on the grid that we compute with, which may differ from the one in the scan's file."""
    target.unlink(missing_ok=True)  # or a link of an earlier attempt would be followed
    write_image(np.ascontiguousarray(array), NativeGrid(native.shape, native.affine), target)
