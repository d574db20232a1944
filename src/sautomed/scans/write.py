"""Label maps and scans to files, in the format that the ending of the name says; atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import UnknownFormat
from sautomed.scans.files import write_text
from sautomed.scans.grid import NativeGrid
from sautomed.scans.itksnap import label_description
from sautomed.scans.metaimage_write import save_metaimage
from sautomed.scans.nifti_write import save_nifti
from sautomed.scans.nrrd_write import save_nrrd, slicer_segments
from sautomed.scans.volume import LabelMap

LabelWriter = Callable[[LabelMap, Path], None]
ImageWriter = Callable[[NDArray[Any], NativeGrid, Path], None]


def smallest_labels(labels: LabelMap) -> NDArray[np.unsignedinteger[Any]]:
    """The labels in the file's axes, (native.shape), in the smallest unsigned type that holds them."""
    array = labels.to_native()
    return array.astype(np.uint8 if array.max(initial=0) <= 255 else np.uint16, copy=False)


def _nifti_labels(labels: LabelMap, path: Path) -> None:
    save_nifti(smallest_labels(labels), labels.native, path, labels=True)


def _nrrd_labels(labels: LabelMap, path: Path) -> None:
    save_nrrd(smallest_labels(labels), labels.native, path, slicer_segments(labels))


def _metaimage_labels(labels: LabelMap, path: Path) -> None:
    save_metaimage(smallest_labels(labels), labels.native, path)


# highdicom takes a second to import, which only those who write DICOM shall wait for.
def _seg_labels(labels: LabelMap, path: Path) -> None:
    from sautomed.scans.dicom.derived.seg import write_seg

    write_seg(labels, path)


def _labelmap_seg_labels(labels: LabelMap, path: Path) -> None:
    from sautomed.scans.dicom.derived.seg import write_seg

    write_seg(labels, path, kind="labelmap")


def _rtstruct_labels(labels: LabelMap, path: Path) -> None:
    from sautomed.scans.dicom.derived.rtstruct import write_rtstruct

    write_rtstruct(labels, path)


# Each writes atomically.
WRITERS: Mapping[str, LabelWriter] = MappingProxyType(
    {
        ".nii.gz": _nifti_labels,
        ".nii": _nifti_labels,
        ".seg.nrrd": _nrrd_labels,
        ".nrrd": _nrrd_labels,
        ".mha": _metaimage_labels,
        ".seg.dcm": _seg_labels,
        ".labelmap.dcm": _labelmap_seg_labels,
        ".rtstruct.dcm": _rtstruct_labels,
    }
)
IMAGE_WRITERS: Mapping[str, ImageWriter] = MappingProxyType(
    {".nii.gz": save_nifti, ".nii": save_nifti, ".nrrd": save_nrrd, ".mha": save_metaimage}
)

NIFTI_ENDINGS = (".nii.gz", ".nii")
LABEL_ENDINGS = tuple(WRITERS)
IMAGE_ENDINGS = tuple(IMAGE_WRITERS)


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write a label map on its native grid, with the names and colours that the format can hold; atomically.

    Args:
        path: Ends in one of `LABEL_ENDINGS`. An existing file is replaced.
    Raises:
        UnknownFormat, UnwritableTarget; what else a format may refuse, its writer says.
    """
    WRITERS[ending_of(path, LABEL_ENDINGS, "label maps")](labels, Path(path))


def write_image(array: NDArray[Any], native: NativeGrid, path: str | Path) -> None:
    """Write voxels of any integer or float type, as they are; atomically.

    Args:
        array: (native.shape), in the file's axes.
        native: Where they lie; what the file said of its affine is written again.
        path: Ends in one of `IMAGE_ENDINGS`. An existing file is replaced.
    Raises:
        UnknownFormat, UnwritableTarget.
    """
    write = IMAGE_WRITERS[ending_of(path, IMAGE_ENDINGS, "scans")]
    if array.dtype == np.float16:  # which none of the formats knows
        array = array.astype(np.float32)
    write(array, native, Path(path))


def write_itksnap_labels(names: Mapping[int, str], path: str | Path) -> None:
    """Write names and colours as ITK-SNAP imports them (Segmentation > Import Label Descriptions); atomically.

    Args:
        names: Name of each label without the background.
    Raises:
        UnwritableTarget.
    """
    write_text(path, label_description(names))


def ending_of(path: str | Path, endings: Iterable[str], what: str) -> str:
    """The longest of `endings` that a name has, whatever its case.

    Raises:
        UnknownFormat: It has none of them.
    """
    name = Path(path).name.lower()
    found = max((ending for ending in endings if name.endswith(ending)), key=len, default=None)
    if found is not None:
        return found
    listed = list(endings)
    raise UnknownFormat(
        f"names no format in which {what} are written: the name must end in {', '.join(listed[:-1])} or {listed[-1]}.",
        where=path,
        cure=f"Call it {Path(path).name}.nii.gz, for example.",
    )
