"""Series of DICOM files: 035x, exit 3."""

# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from sautomed.errors.data import DataError


class NoUsableSeries(DataError):
    """Of the series found, none is a volume; each has its reason."""

    id = "SAM-E0350"


class SeveralSeries(DataError):
    """More than one series could be meant."""

    id = "SAM-E0351"


class DamagedDicom(DataError):
    """A DICOM file lacks what an image needs, or its pixels cannot be decoded."""

    id = "SAM-E0352"


class GantryTilt(DataError):
    """The slices are shifted against each other, as by a tilted gantry."""

    id = "SAM-E0353"


class UnevenGaps(DataError):
    """The slices lie at uneven distances, or some are missing."""

    id = "SAM-E0354"


class MixedOrientation(DataError):
    """The slices of a series do not lie parallel."""

    id = "SAM-E0355"


class NotAVolume(DataError):
    """A series is a localiser, a secondary capture, or otherwise no stack of slices."""

    id = "SAM-E0356"


class TooFewSlices(DataError):
    """A series has too few slices for a volume."""

    id = "SAM-E0357"


class DuplicateSlices(DataError):
    """Several images of a series lie at one place."""

    id = "SAM-E0358"


class MixedSlices(DataError):
    """The slices of a series differ in size, spacing or pixel format."""

    id = "SAM-E0359"
