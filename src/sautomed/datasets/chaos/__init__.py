"""CHAOS: DICOM series with PNG label maps whose order is verified."""
