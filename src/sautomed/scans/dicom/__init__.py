"""DICOM: series in (files, folders, zips), segmentations and structure sets out."""

from sautomed.scans.dicom.picker import SeriesRow, series_table
from sautomed.scans.dicom.read import read_geometry, read_stored

__all__ = ["SeriesRow", "read_geometry", "read_stored", "series_table"]
