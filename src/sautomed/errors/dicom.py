"""Errors of DICOM series: 035x, exit 3."""

# ruff: noqa: N818  (the names say what is wrong; a suffix "Error" would add nothing)

from sautomed.errors.data import DataError


class NoUsableSeries(DataError):
    """None of the series is a usable volume; the message gives the reason for each."""

    id = "SAM-E0350"


class SeveralSeries(DataError):
    """There is more than one usable series, and none was chosen."""

    id = "SAM-E0351"


class DamagedDicom(DataError):
    """A DICOM file lacks what an image needs, or its pixels cannot be decoded."""

    id = "SAM-E0352"


class GantryTilt(DataError):
    """Each slice is shifted against the one before, as by a tilted gantry."""

    id = "SAM-E0353"


class UnevenGaps(DataError):
    """The distances between the slices differ, or slices are missing."""

    id = "SAM-E0354"


class MixedOrientation(DataError):
    """The slices of a series are not parallel."""

    id = "SAM-E0355"


class NotAVolume(DataError):
    """A series is a localiser, a secondary capture, or for another reason no stack of slices."""

    id = "SAM-E0356"


class TooFewSlices(DataError):
    """A series has too few slices for a volume."""

    id = "SAM-E0357"


class DuplicateSlices(DataError):
    """Several images of a series have the same position."""

    id = "SAM-E0358"


class MixedSlices(DataError):
    """The slices of a series differ in size, spacing or pixel format."""

    id = "SAM-E0359"
