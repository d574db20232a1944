"""Write label maps and scans in the format given by the ending of the file name; atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sautomed.scans.files import write_text
from sautomed.scans.formats import image_writer
from sautomed.scans.grid import NativeGrid
from sautomed.scans.itksnap import label_description
from sautomed.scans.volume import LabelMap


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write a label map on its native grid, as `LabelMap.save`."""
    labels.save(path)


def write_image(array: NDArray[Any], native: NativeGrid, path: str | Path) -> None:
    """Write voxels of any integer or float type unchanged; atomically.

    Args:
        array: (native.shape), in the file's axes.
        native: Grid of `array`; the file's own affine is written again.
        path: Ends in one of `formats.IMAGE_ENDINGS`. An existing file is replaced.
    Raises:
        UnknownFormat, UnwritableTarget.
    """
    write = image_writer(path)
    if array.dtype == np.float16:  # no format has it
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
