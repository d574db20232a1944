"""A dataset: its cases, the names of its labels, and how a case is read.

A layout makes a `Dataset` and gives it a `LayoutReader`; what is the same for every layout is done here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sautomed.datasets.description import DESCRIPTION
from sautomed.errors import UnpairedFiles
from sautomed.scans import Geometry, read_geometry, read_labels, read_scan
from sautomed.scans.grid import NativeGrid, Plane, choose_plane, orient
from sautomed.scans.label_names import match_names
from sautomed.scans.partial import complete
from sautomed.scans.read import refuse_unknown_values
from sautomed.scans.volume import LabelMap, Volume, require_same_grid, small_gap_notes

AnyPlane = Plane | Literal["auto"]
_HEADERS = (".mhd", ".nhdr")
CURE_OF_UNKNOWN_VALUES = "Correct the label map, or name the layout of the folder with --layout."


@dataclass(frozen=True)
class Case:
    """One scan and its label map, as paths.

    Args:
        id: Unique in the dataset.
        image: A file, or the folder of a series.
        label: Likewise; None if the scan has no label map.
        group: The patient. Cases of one patient are never split between training and validation. Empty if every case is
            a patient of its own.
    """

    id: str
    image: Path
    label: Path | None
    group: str = ""


class LayoutReader(Protocol):
    """Reader of the cases of one layout. Its label maps have the names of their files, if any."""

    def geometry(self, case: Case) -> Geometry:
        """Read the header of the scan."""

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        """Read the scan."""

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        """Read the label map at `path`.

        Args:
            image: The scan in that plane, if it has been read already.
        Returns:
            The label map, and warnings about it.
        """

    def sources(self, case: Case) -> tuple[Path, ...]:
        """List every file that image and label are read from."""


@dataclass(frozen=True)
class FileReader:
    """Reader of layouts that keep a scan and its label map as one file each."""

    def geometry(self, case: Case) -> Geometry:
        return read_geometry(case.image)

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        return read_scan(case.image, plane)

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        labels = read_labels(path, plane)
        return (labels if image is None else complete(labels, image)), ()

    def sources(self, case: Case) -> tuple[Path, ...]:
        return tuple(file for path in (case.image, case.label) if path is not None for file in files_below(path))


@dataclass(frozen=True)
class Dataset:
    """A folder of cases.

    Args:
        folder: Its root.
        name: From its description, or the folder's name.
        channel: Name of the one image channel, for example "CT"; it decides how intensities are scaled.
        labels: Name of each label 1..K, without the background.
        cases: Sorted by id.
        layout: The key of `DATASETS`.
        reader: How a case is read.
    """

    folder: Path
    name: str
    channel: str
    labels: dict[int, str]
    cases: tuple[Case, ...]
    layout: str = "nnunet-raw"
    reader: LayoutReader = field(default_factory=FileReader)

    @property
    def groups(self) -> dict[str, str]:
        """Patient of each case, by case id."""
        return {case.id: case.group or case.id for case in self.cases}

    @property
    def declared_in(self) -> str:
        """Source of the label names, for messages."""
        return DESCRIPTION if (self.folder / DESCRIPTION).is_file() else f"the layout {self.layout}"

    def geometry(self, case: Case) -> Geometry:
        """Read the header of a scan, without its voxels. Raises DataError as `scans.read_geometry`."""
        return self.reader.geometry(case)

    def read_image(self, case: Case, plane: AnyPlane = "auto") -> Volume:
        """Read the scan alone. Raises DataError as `scans.read_scan`."""
        return self.reader.image(case, plane)

    def read_label(self, case: Case, plane: AnyPlane = "auto") -> LabelMap:
        """Read the label map alone, numbered as the dataset's labels. Values without a name are not refused here.

        Raises:
            UnpairedFiles: The case has no label map.
            UnmatchedNames: Its file names labels that the dataset does not have.
            DataError: As `scans.read_labels`; as `read_image` in a layout whose label maps have no grid of their own.
        """
        path = self._require_label(case)
        chosen = choose_plane(self.reader.geometry(case).native, plane)
        return match_names(self.reader.label(case, path, chosen, None)[0], self.labels, where=_place(case))

    def load(self, case: Case, plane: AnyPlane = "auto") -> tuple[Volume, LabelMap]:
        """Read scan and label map of a case and check that they belong together.

        Warnings about either are in the volume's `warnings`.

        Raises:
            UnpairedFiles: The case has no label map.
            GridMismatch: The two have different grids (see `scans.volume.require_same_grid`).
            UnknownLabels, UnmatchedNames: The label map holds values without a name, or names labels that the dataset
                does not have.
            DataError: As `read_image` and `read_label`.
        """
        path = self._require_label(case)
        volume = self.reader.image(case, plane)
        labels, notes = self.reader.label(case, path, volume.plane, volume)
        place = _place(case)
        labels = match_names(labels, self.labels, where=place)
        require_same_grid(volume, labels, first_name="image", second_name="label map", where=place)
        layout = "" if self.declared_in == DESCRIPTION else CURE_OF_UNKNOWN_VALUES
        refuse_unknown_values(labels, where=place, declared_in=self.declared_in, cure=layout)
        return replace(volume, warnings=(*volume.warnings, *notes, *small_gap_notes(volume, labels, place))), labels

    def sources(self, case: Case) -> tuple[Path, ...]:
        """List every file that the case is read from."""
        return self.reader.sources(case)

    def _require_label(self, case: Case) -> Path:
        if case.label is None:
            raise UnpairedFiles(
                "has no label map, which training and scoring need.",
                where=f"case {case.id} ({case.image})",
                cure=f"Add it as the layout {self.layout} keeps label maps (docs/datasets.md), or take the scan out.",
            )
        return case.label


def _place(case: Case) -> str:
    return f"case {case.id} ({case.label})"


def as_label_map(array: NDArray[np.unsignedinteger[Any]], native: NativeGrid, plane: Plane) -> LabelMap:
    """Put labels that have no grid of their own onto the grid of a scan.

    Args:
        array: (native.shape), in the axis order of the scan's file.
        native: The grid of the scan.
        plane: The plane to orient the labels to.
    """
    turned, affine = orient(array, native, plane)
    return LabelMap(np.ascontiguousarray(turned), affine, native, plane)


def files_below(path: Path) -> tuple[Path, ...]:
    """List the files that `path` stands for, sorted.

    Of a folder all files; of a header (.mhd, .nhdr) also the files beside it that may hold its voxels.
    """
    if path.suffix.lower() in _HEADERS:
        return tuple(sorted(other for other in path.parent.iterdir() if other.name.startswith(f"{path.stem}.")))
    if path.is_dir():
        return tuple(sorted(inner for inner in path.rglob("*") if inner.is_file()))
    return (path,)
