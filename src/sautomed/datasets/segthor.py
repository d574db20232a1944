"""SegTHOR: train/Patient_01/Patient_01.nii.gz with its labels in GT.nii.gz.

The header of a GT file may differ from that of its scan although their voxels correspond, so the scan's header is used.
The test scans have no label maps and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sautomed.datasets.dataset import Case, Dataset, FileReader, as_label_map
from sautomed.datasets.names import files_in, first_root, folders_in
from sautomed.errors import GridMismatch, NoCases, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans import ReadOptions, read_stored
from sautomed.scans.grid import NativeGrid, Plane, corner_gap_mm
from sautomed.scans.values import whole_numbers
from sautomed.scans.volume import CORNER_TOLERANCE_MM, LabelMap, Volume

LOOKS_FOR = "train/Patient_NN/Patient_NN.nii.gz and train/Patient_NN/GT.nii.gz"
LABELS: Mapping[int, str] = MappingProxyType({1: "esophagus", 2: "heart", 3: "trachea", 4: "aorta"})
_ROOTS = ("", "train", "SegTHOR/train")
_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class ScanGridReader(FileReader):
    """Reader that puts label maps on the grid of their scan, voxel by voxel, and ignores their own header."""

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        native = self.geometry(case).native if image is None else image.native
        stored = read_stored(path, ReadOptions(assume_spacing=True), labels=True)  # its header is not used
        own = stored.geometry.native
        _require_same_shape(case, own, native, path)
        gap_mm = corner_gap_mm(own.affine, native.affine, native.shape)
        notes: tuple[str, ...] = ()
        if gap_mm > CORNER_TOLERANCE_MM:
            notes = (
                f"{path}: its header puts the labels up to {gap_mm:.3g} mm away from the scan; as the voxels of "
                "SegTHOR correspond one to one, the scan's header is used.",
            )
        return as_label_map(whole_numbers(stored), native, plane), (*stored.geometry.warnings, *notes)


def detect(folder: Path) -> bool:
    """Return whether one of the usual roots has a folder Patient_NN with a scan of that name."""
    return _root(folder) is not None


def read_dataset(folder: Path) -> Dataset:
    """Read SegTHOR's training cases.

    Raises:
        NoCases: There is no scan.
        UnpairedFiles: Some scans have a label map and others have none.
    """
    root = _root(folder)
    scans = {} if root is None else {place.name: place for place in folders_in(root) if _scan(place) is not None}
    if not scans:
        raise NoCases(
            "has no cases: there is no train/Patient_NN/Patient_NN.nii.gz.",
            where=folder,
            cure="Unpack the challenge's train folder there.",
        )
    cases = tuple(Case(name, _scan(place) or place, _labels(place)) for name, place in scans.items())
    dataset = Dataset(folder, "SegTHOR", "CT", dict(LABELS), cases, "segthor", ScanGridReader())
    without = [case.id for case in cases if case.label is None]
    if 0 < len(without) < len(cases):
        raise UnpairedFiles(
            f"{len(without)} of {len(cases)} patients have no label map: {listed(without)}.",
            where=root or folder,
            cure="Put GT.nii.gz back into their folders, or take the folders out.",
            result=dataset,
        )
    return dataset


def _root(folder: Path) -> Path | None:
    return first_root(folder, _ROOTS, lambda root: any(_scan(place) is not None for place in folders_in(root)))


def _scan(place: Path) -> Path | None:
    if not place.name.startswith("Patient"):
        return None
    return next(
        (place / f"{place.name}{ending}" for ending in _ENDINGS if (place / f"{place.name}{ending}").is_file()), None
    )


def _labels(place: Path) -> Path | None:
    return next((path for path in files_in(place, *_ENDINGS) if path.name.startswith("GT.")), None)


def _require_same_shape(case: Case, own: NativeGrid, native: NativeGrid, path: Path) -> None:
    if own.shape != native.shape:
        sizes = [" x ".join(map(str, grid.shape)) for grid in (native, own)]
        raise GridMismatch(
            f"the image has {sizes[0]} voxels, but the label map {sizes[1]}, so they do not belong together.",
            where=f"case {case.id} ({path})",
            cure="Unpack this patient's folder again.",
        )
