"""DICOM: series in (files, folders, zips), segmentations and structure sets out."""

from sautomed.io.dicom.picker import SeriesRow, series_table
from sautomed.io.dicom.read import read_geometry, read_stored

__all__ = ["SeriesRow", "read_geometry", "read_stored", "series_table"]
