"""BTCV as TransUNet and SAMed keep it: train_npz/caseXXXX_sliceYYY.npz and test_vol_h5/caseXXXX.npy.h5.

Intensities are already scaled to [0, 1]. The files have neither spacing nor orientation, so 1 mm and axial slices are
assumed, with a warning. Reports on the order of the labels in the released files differ, so there is a layout for each
order, and every label map is checked against the usual sizes of the organs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.datasets.dataset import AnyPlane, Case, Dataset, as_label_map
from sautomed.datasets.names import files_in, first_root
from sautomed.datasets.transunet.abdomen_check import ALPHABETICAL, SAMED, check_labels
from sautomed.datasets.transunet.arrays import read_array
from sautomed.errors import GridMismatch, NoCases, NotThreeD, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans import Geometry, Stored
from sautomed.scans.grid import NativeGrid, Plane, choose_plane, orient
from sautomed.scans.values import intensities, whole_numbers
from sautomed.scans.volume import LabelMap, Volume

LOOKS_FOR = "train_npz/caseXXXX_sliceYYY.npz or test_vol_h5/caseXXXX.npy.h5"
ORDERS = {"transunet": ALPHABETICAL, "transunet-samed": SAMED}
CHANNEL = "CT scaled to [0, 1]"
_SLICE = re.compile(r"(case\w+?)_slice(\d+)\.npz")
_VOLUME = re.compile(r"(case\w+?)(\.npy)?\.h5")
_ROOTS = ("", "Synapse", "data/Synapse")
_AXIAL = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to the left, rows to posterior: the radiological view


@dataclass(frozen=True)
class ArrayReader:
    """Reader of a case from its slices, or from one file with all of them.

    Args:
        layout: The key of `ORDERS` that gives the order of the labels.
    """

    layout: str

    def geometry(self, case: Case) -> Geometry:
        files = self._files(case)
        first = read_array(files[0], "image")
        shape = (len(files), *first.shape) if _is_slice(files[0]) else first.shape
        return _geometry(case, shape, first.dtype)

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        array = self._read(case, "image")
        geometry = _geometry(case, array.shape, array.dtype)
        scaled, repairs = intensities(Stored(geometry, array.transpose(2, 1, 0)))
        chosen = choose_plane(geometry.native, plane)
        turned, affine = orient(scaled, geometry.native, chosen)
        notes = (*geometry.warnings, *repairs)
        return Volume(np.ascontiguousarray(turned), affine, geometry.native, chosen, case.image, notes)

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        array = self._read(case, "label")
        geometry = _geometry(case, array.shape, array.dtype)
        whole = whole_numbers(Stored(geometry, array.transpose(2, 1, 0)))
        notes = check_labels(whole.transpose(2, 1, 0), self.layout, ORDERS, path)
        return as_label_map(whole, geometry.native, plane), notes

    def sources(self, case: Case) -> tuple[Path, ...]:
        return self._files(case)

    def _files(self, case: Case) -> tuple[Path, ...]:
        if not _is_slice(case.image):
            return (case.image,)
        return tuple(_slices_by_case(case.image.parent)[case.id])

    def _read(self, case: Case, key: str) -> NDArray[Any]:
        """(slice row column)"""
        arrays = [read_array(path, key) for path in self._files(case)]
        if not _is_slice(case.image):
            return arrays[0]
        odd = next((index for index, array in enumerate(arrays) if array.shape != arrays[0].shape), None)
        if odd is not None:
            raise GridMismatch(
                f"has slices of different sizes: {arrays[0].shape} and, in slice {odd}, {arrays[odd].shape}.",
                where=f"case {case.id} ({case.image.parent})",
                cure="Unpack this case again.",
            )
        return np.stack(arrays)


def detect(folder: Path) -> bool:
    """Return whether one of the usual roots has a folder train_npz or test_vol_h5 with such files."""
    return _root(folder) is not None


def reader(layout: str) -> Callable[[Path], Dataset]:
    """Return a function that reads such a folder, with the labels in the order of a layout.

    Args:
        layout: A key of `ORDERS`.
    Returns:
        A function of the folder. It raises NoCases, or UnpairedFiles if slices are missing or a case is in both parts.
    """

    def read(folder: Path) -> Dataset:
        root = _root(folder) or folder
        slices = _slices_by_case(root / "train_npz")
        _require_no_gap(slices, root)
        volumes = {_VOLUME.fullmatch(path.name)[1]: path for path in _volumes(root / "test_vol_h5")}  # type: ignore[index]
        twice = sorted(set(slices) & set(volumes))
        if twice:
            raise UnpairedFiles(
                f"has the case {listed(twice)} in train_npz and in test_vol_h5.",
                where=root,
                cure="Take one of them out: a case must not train and test.",
            )
        firsts = {case: paths[0] for case, paths in slices.items()} | volumes
        if not firsts:
            raise NoCases(
                f"has no cases: there is no {LOOKS_FOR}.", where=folder, cure="Unpack the preprocessed data there."
            )
        cases = tuple(Case(case, path, path) for case, path in sorted(firsts.items()))
        return Dataset(folder, "BTCV (preprocessed)", CHANNEL, dict(ORDERS[layout]), cases, layout, ArrayReader(layout))

    return read


def _root(folder: Path) -> Path | None:
    return first_root(
        folder, _ROOTS, lambda root: bool(_slices_by_case(root / "train_npz") or _volumes(root / "test_vol_h5"))
    )


def _is_slice(path: Path) -> bool:
    return _SLICE.fullmatch(path.name) is not None


def _volumes(folder: Path) -> list[Path]:
    return [path for path in files_in(folder, ".h5") if _VOLUME.fullmatch(path.name)]


def _slices_by_case(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each case, in the order of their slices."""
    found: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in files_in(folder, ".npz"):
        named = _SLICE.fullmatch(path.name)
        if named:
            found[named[1]].append((int(named[2]), path))
    return {case: [path for _, path in sorted(slices)] for case, slices in found.items()}


def _require_no_gap(slices: dict[str, list[Path]], root: Path) -> None:
    for case, paths in slices.items():
        numbers = [int(_SLICE.fullmatch(path.name)[2]) for path in paths]  # type: ignore[index]
        missing = sorted(set(range(min(numbers), max(numbers) + 1)) - set(numbers))
        if missing:
            raise UnpairedFiles(
                f"lacks {len(missing)} slices of {case}: {listed(missing)}.",
                where=root / "train_npz",
                cure="Unpack this case again, or take its other slices out.",
            )


def _geometry(case: Case, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Geometry:
    """Return the assumed grid, with a warning.

    Args:
        shape: (slice row column).
    """
    if len(shape) != 3 or min(shape) < 1:
        raise NotThreeD(
            f"has the shape {shape}, but a volume has slices, rows and columns.",
            where=case.image,
            cure="Unpack this case again.",
        )
    native = NativeGrid((shape[2], shape[1], shape[0]), _AXIAL)
    note = (
        f"{case.image}: has no spacing and no orientation; 1 mm and axial slices are assumed, so lengths and volumes "
        "are in voxels."
    )
    return Geometry(case.image, "npz slices" if _is_slice(case.image) else "HDF5", native, dtype, (note,))
