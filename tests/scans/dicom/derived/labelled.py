"""Label maps on the grid of a series, to write derived objects from."""

import numpy as np

from sautomed.scans.dicom.read import read_geometry
from sautomed.scans.grid import NativeGrid, orient
from sautomed.scans.stored import ReadOptions
from sautomed.scans.volume import LabelMap

from ..build import AXIAL, CORONAL, SAGITTAL

OBLIQUE = (0.8660254037844387, 0.4330127018922193, -0.25, -0.5, 0.75, -0.4330127018922193)
FEET_FIRST_PRONE = (-1, 0, 0, 0, -1, 0)
ORIENTATIONS = [AXIAL, CORONAL, SAGITTAL, OBLIQUE, FEET_FIRST_PRONE]


def grid_of(path) -> NativeGrid:
    return read_geometry(path, ReadOptions()).native


def labels_on(frames: np.ndarray, native: NativeGrid, names=None, plane="axial") -> LabelMap:
    """Return a label map, as from a segmentation, with the given frames (slices rows columns) of the series."""
    turned, affine = orient(frames.transpose(2, 1, 0), native, plane)
    return LabelMap(np.ascontiguousarray(turned), affine, native, plane, names or {})


def some_labels(shape, values=(1, 2), seed=0) -> np.ndarray:
    """Return frames of random labels, with many islands and holes."""
    rng = np.random.default_rng(seed)
    picked = rng.choice(np.array([0, *values], dtype=np.uint16), shape)
    return picked.astype(np.uint8 if max(values) < 256 else np.uint16)
