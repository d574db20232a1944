"""Write NIfTI with the header fields of the scan it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.scans.files import atomic_write
from sautomed.scans.grid import NativeGrid
from sautomed.scans.label_names import is_placeholder
from sautomed.scans.nifti_file import LABEL_INTENT, NiftiSource, length_unit
from sautomed.scans.nifti_names import extension_of
from sautomed.scans.volume import LabelMap

_NIFTI1_LONGEST = 32767  # 16 bits per axis length
_KNOWN_CODES = range(6)
_ALIGNED = 2
_NO_NAMES: Mapping[int, str] = MappingProxyType({})
_EOL_CHECK = (13, 10, 26, 10)  # of NIfTI-2, to detect that line ends were converted


def save_nifti(
    array: NDArray[Any], native: NativeGrid, path: Path, *, labels: bool = False, names: Mapping[int, str] = _NO_NAMES
) -> None:
    """Write voxels with the affine, the qform and sform codes and the units of the scan's header; atomically.

    The grid of a scan in another format is written as scanner coordinates in mm (codes 1).

    Args:
        array: (native.shape), any integer or float type; stored unscaled.
        labels: Whether to mark the values as labels in the header.
        names: Names of labels to write into a header extension.
    """
    kind = array.dtype.newbyteorder("=")
    array = array.astype(kind, copy=False)
    affine = native.affine_to_write
    scan_header = native.source.header if isinstance(native.source, NiftiSource) else None
    two = isinstance(scan_header, nibabel.Nifti2Header) or max(array.shape) > _NIFTI1_LONGEST
    image_type = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    if scan_header is not None:
        unit_mm = length_unit(scan_header).mm
        affine = np.diag([1 / unit_mm, 1 / unit_mm, 1 / unit_mm, 1.0]) @ affine
        header = scan_header.copy()
        _repair(header)
        if labels:
            header["cal_min"] = header["cal_max"] = 0  # the scan's display window would hide labels
        elif int(header["intent_code"]) > LABEL_INTENT:
            header.set_intent("none")  # vectors and the like, of which one channel was read
        image = image_type(array, affine, header, dtype=kind)
    else:
        image = image_type(array, affine, dtype=kind)
        image.header.set_xyzt_units("mm")
        image.header.set_qform(affine, code=1)
        image.header.set_sform(affine, code=1)
    image.header.set_data_dtype(kind)
    if labels:
        image.header.set_intent("label")
    if names:
        image.header.extensions.append(extension_of(names))
    with atomic_write(path) as temporary:
        nibabel.save(image, temporary)


def save_nifti_labels(labels: LabelMap, path: Path) -> None:
    """Write a label map with its names and colours in a header extension, as `nifti_names`."""
    names = {value: name for value, name in labels.names.items() if not is_placeholder(name)}
    save_nifti(labels.to_smallest_native(), labels.native, path, labels=True, names=names)


def _repair(header: nibabel.Nifti1Header) -> None:
    """Correct fields that reading accepts, but nibabel would refuse to write or unset together with the orientation."""
    for name in ("qform_code", "sform_code"):
        if int(header[name]) not in _KNOWN_CODES:
            header[name] = _ALIGNED if int(header[name]) > 0 else 0
    try:
        header.get_qform()
    except (HeaderDataError, ValueError):  # no rotation; reading ignores it too
        header["qform_code"] = 0
    header["magic"] = header.single_magic
    header["vox_offset"] = 0  # chosen by nibabel
    if isinstance(header, nibabel.Nifti2Header):
        header["eol_check"] = _EOL_CHECK
