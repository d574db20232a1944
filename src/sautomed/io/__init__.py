"""Scans and label maps from files: one module per format; what comes out is a Volume or a LabelMap."""

from sautomed.io.nifti import Geometry, read_geometry, read_labels, read_scan

__all__ = ["Geometry", "read_geometry", "read_labels", "read_scan"]
