"""Scans and label maps: read from and written to files of several formats, as a `Volume` or a `LabelMap`.

The table of formats is `sautomed.scans.formats`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sautomed.scans.read import read_geometry, read_labels, read_scan, read_stored
    from sautomed.scans.stored import Geometry, ReadOptions, Stored
    from sautomed.scans.volume import LabelMap, Volume
    from sautomed.scans.write import write_labels

__all__ = [
    "Geometry",
    "LabelMap",
    "ReadOptions",
    "Stored",
    "Volume",
    "read_geometry",
    "read_labels",
    "read_scan",
    "read_stored",
    "write_labels",
]
_HOMES = {
    "Geometry": "stored",
    "LabelMap": "volume",
    "ReadOptions": "stored",
    "Stored": "stored",
    "Volume": "volume",
    "read_geometry": "read",
    "read_labels": "read",
    "read_scan": "read",
    "read_stored": "read",
    "write_labels": "write",
}


def __getattr__(name: str) -> Any:
    """Import nibabel and scipy with the first use, so that `sautomed.scans.files` and `.paths` are quick to import."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
