"""DICOM: series in (files, folders, zips), segmentations and structure sets out."""
