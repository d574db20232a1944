"""Label maps to files, by the ending of the name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sautomed.errors import UnknownFormat
from sautomed.files import atomic_write
from sautomed.grid import NativeGrid
from sautomed.volume import LabelMap

NIFTI_ENDINGS = (".nii.gz", ".nii")
LABEL_ENDINGS = NIFTI_ENDINGS


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write a label map on its native grid; atomically. As `LabelMap.save`."""
    if not str(path).endswith(LABEL_ENDINGS):
        raise UnknownFormat(
            "label maps are written as NIfTI, so the name must end in .nii or .nii.gz.",
            where=path,
            cure=f"Call it {Path(path).name}.nii.gz, for example.",
        )
    image = _nifti_of(labels.to_native(), labels.native)
    with atomic_write(path) as temporary:
        nibabel.save(image, temporary)


def _nifti_of(array: NDArray[np.unsignedinteger[Any]], native: NativeGrid) -> nibabel.Nifti1Image:
    """A NIfTI image of labels in the smallest unsigned type, in the likeness of the scan's header."""
    kind = np.uint8 if array.max(initial=0) <= 255 else np.uint16
    if native.header is None:
        image = nibabel.Nifti1Image(array.astype(kind), native.affine)
        image.header.set_xyzt_units("mm")
        image.header.set_qform(native.affine, code=1)
        image.header.set_sform(native.affine, code=1)
    else:
        image_type = nibabel.Nifti2Image if isinstance(native.header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        header = native.header.copy()
        header["cal_min"] = header["cal_max"] = 0  # the scan's display window would hide labels
        stored_affine = native.affine if native.stored_affine is None else native.stored_affine
        image = image_type(array.astype(kind), stored_affine, header)
    image.header.set_data_dtype(kind)
    image.header.set_intent("label")
    return image
