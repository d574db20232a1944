"""A dataset: its cases, what its labels mean, and how a case is read, whatever the layout of the folder.

A layout makes a `Dataset` and gives it a reader; what is the same for every layout is done here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import UnpairedFiles
from sautomed.scans import Geometry, read_geometry, read_labels, read_scan
from sautomed.scans.grid import NativeGrid, Plane, choose_plane, orient
from sautomed.scans.read import refuse_unknown_values
from sautomed.scans.volume import LabelMap, Volume, require_same_grid, small_gap_notes

AnyPlane = Plane | Literal["auto"]
_HEADERS = (".mhd", ".nhdr")


@dataclass(frozen=True)
class Case:
    """One scan by its files.

    Args:
        id: Unique in the dataset.
        image: A file, or the folder of a series.
        label: Likewise, or None where the scan has no label map.
        group: Whose scan it is: cases of one patient are never split between training and validation. Empty where
            every case is a patient of its own.
    """

    id: str
    image: Path
    label: Path | None
    group: str = ""


class Reader(Protocol):
    """How the cases of one layout are read. Labels are numbers only; the dataset knows their names."""

    def geometry(self, case: Case) -> Geometry:
        """The header of the scan."""

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        """The scan."""

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        """The label map at `path`, and what was odd about it.

        Args:
            image: The scan in that plane, where it has been read already.
        """

    def sources(self, case: Case) -> tuple[Path, ...]:
        """Every file that image and label are read from."""


@dataclass(frozen=True)
class Files:
    """The reader of layouts that keep a scan and its label map as one file each."""

    def geometry(self, case: Case) -> Geometry:
        return read_geometry(case.image)

    def image(self, case: Case, plane: AnyPlane) -> Volume:
        return read_scan(case.image, plane)

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        return read_labels(path, plane), ()

    def sources(self, case: Case) -> tuple[Path, ...]:
        return tuple(file for path in (case.image, case.label) if path is not None for file in files_below(path))


@dataclass(frozen=True)
class Dataset:
    """A folder of cases.

    Args:
        folder: Where it lies.
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
    reader: Reader = field(default_factory=Files)

    @property
    def groups(self) -> dict[str, str]:
        """Whose scan each case is, by case id."""
        return {case.id: case.group or case.id for case in self.cases}

    @property
    def declared_in(self) -> str:
        """Where the names of the labels come from."""
        return "dataset.json" if (self.folder / "dataset.json").is_file() else f"the layout {self.layout}"

    def geometry(self, case: Case) -> Geometry:
        """What the scan says about itself; reads no voxels. Raises DataError as `io.read_geometry`."""
        return self.reader.geometry(case)

    def read_image(self, case: Case, plane: AnyPlane = "auto") -> Volume:
        """The scan alone. Raises DataError as `io.read_scan`."""
        return self.reader.image(case, plane)

    def read_label(self, case: Case, plane: AnyPlane = "auto") -> LabelMap:
        """The label map alone, with the names of the dataset, whatever values it holds.

        Raises:
            UnpairedFiles: The case has no label map.
            DataError: As `io.read_labels`; as `read_image` in a layout whose label maps have no grid of their own.
        """
        path = self._require_label(case)
        chosen = choose_plane(self.reader.geometry(case).native, plane)
        return self._named(self.reader.label(case, path, chosen, None)[0])

    def load(self, case: Case, plane: AnyPlane = "auto") -> tuple[Volume, LabelMap]:
        """Scan and label map of a case, held against each other.

        What is odd about either stands in the volume's warnings.

        Raises:
            UnpairedFiles: The case has no label map.
            GridMismatch: The two lie on different grids (see `volume.require_same_grid`).
            UnknownLabels: The label map holds values that have no name.
            DataError: As `read_image` and `read_label`.
        """
        path = self._require_label(case)
        volume = self.reader.image(case, plane)
        labels, notes = self.reader.label(case, path, volume.plane, volume)
        labels = self._named(labels)
        place = f"case {case.id} ({case.label})"
        require_same_grid(volume, labels, first_name="image", second_name="label map", where=place)
        refuse_unknown_values(labels, where=place, declared_in=self.declared_in)
        return replace(volume, warnings=(*volume.warnings, *notes, *small_gap_notes(volume, labels, place))), labels

    def sources(self, case: Case) -> tuple[Path, ...]:
        """Every file that the case is read from; where they stay the same, so does the case."""
        return self.reader.sources(case)

    def _named(self, labels: LabelMap) -> LabelMap:
        return replace(labels, names=dict(self.labels))

    def _require_label(self, case: Case) -> Path:
        if case.label is None:
            raise UnpairedFiles(
                "has no label map, which training and scoring need.",
                where=f"case {case.id} ({case.image})",
                cure=f"Add it to {self.folder}, or leave the case out.",
            )
        return case.label


def labels_on(array: NDArray[np.unsignedinteger[Any]], native: NativeGrid, plane: Plane) -> LabelMap:
    """Labels without a grid of their own, laid on that of a scan.

    Args:
        array: (native.shape), in the axis order of the scan's file.
    """
    turned, affine = orient(array, native, plane)
    return LabelMap(np.ascontiguousarray(turned), affine, native, plane)


def files_below(path: Path) -> tuple[Path, ...]:
    """A file itself, and with a header the files beside it that may hold its voxels; of a folder all files, sorted."""
    if path.suffix.lower() in _HEADERS:
        return tuple(sorted(other for other in path.parent.iterdir() if other.name.startswith(f"{path.stem}.")))
    if path.is_dir():
        return tuple(sorted(inner for inner in path.rglob("*") if inner.is_file()))
    return (path,)
