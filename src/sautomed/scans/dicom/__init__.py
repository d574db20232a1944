"""Read DICOM series from folders, zips and files; write segmentations and structure sets (`derived`)."""

from sautomed.scans.dicom.picker import SeriesRow, series_table
from sautomed.scans.dicom.read import read_geometry, read_stored

__all__ = ["SeriesRow", "read_geometry", "read_stored", "series_table"]
