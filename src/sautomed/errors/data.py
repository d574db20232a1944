"""A scan, a label map or a dataset: 03xx, exit 3."""

# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from pathlib import Path

from sautomed.errors.base import EXIT_DATA, SautomedError


class DataError(SautomedError):
    """A scan, a label map or a dataset cannot be used."""

    id = "SAM-E0300"
    exit_code = EXIT_DATA


class MissingFile(DataError):
    """A file or folder that should be read is not there."""

    id = "SAM-E0301"


class NotAScan(DataError):
    """The content of a file is in no format that is read, whatever its name says."""

    id = "SAM-E0302"


class TruncatedFile(DataError):
    """A file ends before its voxels do, or its compressed stream is damaged."""

    id = "SAM-E0303"


class NotThreeD(DataError):
    """An image does not have three axes."""

    id = "SAM-E0304"


class NonFiniteVoxels(DataError):
    """Too many voxels are NaN or infinite."""

    id = "SAM-E0305"


class ConstantImage(DataError):
    """All voxels have the same value."""

    id = "SAM-E0306"


class GridMismatch(DataError):
    """Two arrays that must lie on one grid do not."""

    id = "SAM-E0307"


class UnknownLabels(DataError):
    """A label map holds values that have no name."""

    id = "SAM-E0308"


class NoCases(DataError):
    """A folder holds no case to work on."""

    id = "SAM-E0309"


class FoldOutOfRange(DataError):
    """There is no such fold."""

    id = "SAM-E0310"


class BadDatasetJson(DataError):
    """A dataset's description cannot be read or contradicts itself."""

    id = "SAM-E0311"


class NotIntegerLabels(DataError):
    """A label map holds values that are not whole numbers between 0 and 65535."""

    id = "SAM-E0312"


class UnpairedFiles(DataError):
    """Images and label maps do not pair up; `result` holds the dataset of the images, where one can be made."""

    id = "SAM-E0313"

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, result: object = None) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.result = result


class BadGeometry(DataError):
    """Spacing or affine cannot be those of a scan."""

    id = "SAM-E0314"


class UnsupportedVoxels(DataError):
    """The voxels are of a type that has no single intensity, such as colour or complex numbers."""

    id = "SAM-E0315"


class TooManyChannels(DataError):
    """The dataset has more image channels than the method takes."""

    id = "SAM-E0316"


class BadSplits(DataError):
    """The file with the folds cannot be read, leaks, or belongs to another dataset."""

    id = "SAM-E0317"


class BadTable(DataError):
    """A log or a score table lacks a column, or holds text where a number belongs."""

    id = "SAM-E0318"


class ShearedGrid(DataError):
    """The axes of a grid are not at right angles, by more than may be corrected."""

    id = "SAM-E0319"


class UnknownSpacing(DataError):
    """A file does not say how its voxels lie in the patient."""

    id = "SAM-E0320"


class UnsafeArchive(DataError):
    """An archive holds paths that leave it, links, or more than may be unpacked."""

    id = "SAM-E0321"


class UnknownLayout(DataError):
    """A folder is in no dataset layout that is read, or in several."""

    id = "SAM-E0322"


class PictureOrder(DataError):
    """Label pictures do not belong to the slices of their series."""

    id = "SAM-E0323"


class ClassMissing(DataError):
    """A class has no voxel in the cases that should teach it."""

    id = "SAM-E0324"


class NeedsMending(DataError):
    """A dataset has faults that training would stumble over."""

    id = "SAM-E0325"
