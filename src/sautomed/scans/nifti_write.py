"""NIfTI out: in the likeness of the file that the scan came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sautomed.scans.files import atomic_write
from sautomed.scans.grid import NativeGrid

_NIFTI1_LONGEST = 32767  # its axes are counted in 16 bits
_LABEL_INTENT = 1002
_KNOWN_CODES = range(6)
_ALIGNED = 2
_EOL_CHECK = (13, 10, 26, 10)  # by which NIfTI-2 tells that no line ends were converted


def save_nifti(array: NDArray[Any], native: NativeGrid, path: Path, *, labels: bool = False) -> None:
    """Write voxels with the affine, the qform and sform codes and the units of the scan's header; atomically.

    A grid that came from no NIfTI file is written as scanner coordinates in mm (codes 1).

    Args:
        array: (native.shape), any integer or float type; stored as it is, unscaled.
        labels: Whether to say that the values are labels.
    """
    kind = array.dtype.newbyteorder("=")
    array = array.astype(kind, copy=False)
    affine = native.affine if native.stored_affine is None else native.stored_affine
    two = isinstance(native.header, nibabel.Nifti2Header) or max(array.shape) > _NIFTI1_LONGEST
    image_type = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    if isinstance(native.header, nibabel.Nifti1Header):  # NIfTI-2's derives from it
        header = native.header.copy()
        _mend(header)
        if labels:
            header["cal_min"] = header["cal_max"] = 0  # the scan's display window would hide labels
        elif int(header["intent_code"]) > _LABEL_INTENT:
            header.set_intent("none")  # vectors and the like, of which one channel was picked
        image = image_type(array, affine, header, dtype=kind)
    else:
        image = image_type(array, affine, dtype=kind)
        image.header.set_xyzt_units("mm")
        image.header.set_qform(affine, code=1)
        image.header.set_sform(affine, code=1)
    image.header.set_data_dtype(kind)
    if labels:
        image.header.set_intent("label")
    with atomic_write(path) as temporary:
        nibabel.save(image, temporary)


def _mend(header: Any) -> None:
    """Replace what reading is lenient about, but what nibabel would refuse, or unset and the orientation with it."""
    for name in ("qform_code", "sform_code"):
        if int(header[name]) not in _KNOWN_CODES:
            header[name] = _ALIGNED if int(header[name]) > 0 else 0
    try:
        header.get_qform()
    except (HeaderDataError, ValueError):  # no rotation; reading did not use it either
        header["qform_code"] = 0
    header["magic"] = header.single_magic
    header["vox_offset"] = 0  # nibabel puts the voxels where they belong
    if isinstance(header, nibabel.Nifti2Header):
        header["eol_check"] = _EOL_CHECK
