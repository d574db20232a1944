"""CHAOS: DICOM series with label maps as PNG pictures, whose order is verified against the scan."""
