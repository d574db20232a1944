"""Scans and label maps: read from and written to files of several formats, as a `Volume` or a `LabelMap`.

volume.py          a scan or a label map with the position of its voxels, oriented for viewing
grid.py            the grid of a file, and how it is turned to the slices of a plane
read.py, write.py  any format in, any format out
formats.py         tables of the formats; contents.py recognises one by its first bytes
nifti*, nrrd*, metaimage*, dicom/   the formats, reader and writer apart
stored.py, values.py, orthogonal.py, affine.py   what every format has: content as stored, and the checks of it
payload.py, text_header.py   bytes and headers that several formats share
files.py, paths.py           files written atomically; paths checked and hashed
palette.py, itksnap.py       colours and names of labels
"""

from typing import TYPE_CHECKING

from sautomed.lazy import lazy_names

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
# nibabel and scipy come with the first use, so that `sautomed.scans.files` and `.paths` are quick to import.
__getattr__ = lazy_names(
    __name__,
    {
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
    },
)
