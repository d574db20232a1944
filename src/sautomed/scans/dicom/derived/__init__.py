"""DICOM objects made from a label map: segmentations and structure sets, which refer to the series they lie on."""
