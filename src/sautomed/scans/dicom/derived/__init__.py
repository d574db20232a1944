"""Write label maps as DICOM segmentations and structure sets, which refer to the images of their series."""
