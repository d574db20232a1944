"""Scans and label maps from files and to files, whatever the format; what comes out is a Volume or a LabelMap.

`read` and `write` are the doors; one module or package per format stands behind them, and one line in `FORMATS`.
"""

from sautomed.scans.read import read_geometry, read_labels, read_scan, read_stored
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.write import write_labels

__all__ = [
    "Geometry",
    "ReadOptions",
    "Stored",
    "read_geometry",
    "read_labels",
    "read_scan",
    "read_stored",
    "write_labels",
]
