"""Errors of a scan, a label map or a dataset: 03xx, exit 3."""

# ruff: noqa: N818  (the names say what is wrong; a suffix "Error" would add nothing)

from pathlib import Path

from sautomed.errors.base import EXIT_DATA, SautomedError


class DataError(SautomedError):
    """A scan, a label map or a dataset cannot be used."""

    id = "SAM-E0300"
    exit_code = EXIT_DATA


class MissingFile(DataError):
    """A file or folder to be read does not exist."""

    id = "SAM-E0301"


class NotAScan(DataError):
    """A file has no readable format, judged by its content."""

    id = "SAM-E0302"


class TruncatedFile(DataError):
    """A file ends before its last voxel, or its compressed stream is damaged."""

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
    """Two arrays that must lie on one grid, such as a scan and its labels, do not."""

    id = "SAM-E0307"


class UnknownLabels(DataError):
    """A label map holds values that have no name."""

    id = "SAM-E0308"


class NoCases(DataError):
    """A folder contains no case."""

    id = "SAM-E0309"


class FoldOutOfRange(DataError):
    """The dataset has no fold of that number."""

    id = "SAM-E0310"


class BadDatasetJson(DataError):
    """The description of a dataset cannot be read or contradicts itself."""

    id = "SAM-E0311"


class NotIntegerLabels(DataError):
    """A label map holds values that are not whole numbers between 0 and 65535."""

    id = "SAM-E0312"


class UnpairedFiles(DataError):
    """Images and label maps do not pair up; `result` is the dataset of the images, if there can be one."""

    id = "SAM-E0313"

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, result: object = None) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.result = result


class BadGeometry(DataError):
    """The spacing or the affine is impossible for a scan."""

    id = "SAM-E0314"


class UnsupportedVoxels(DataError):
    """The voxels have no single intensity: they are colours or complex numbers, for example."""

    id = "SAM-E0315"


class TooManyChannels(DataError):
    """The dataset has more image channels than the method takes."""

    id = "SAM-E0316"


class BadSplits(DataError):
    """The file of the folds is unreadable, trains and validates on the same patients, or does not fit the dataset."""

    id = "SAM-E0317"


class BadTable(DataError):
    """A log or a score table lacks a column, or has text in place of a number."""

    id = "SAM-E0318"


class ShearedGrid(DataError):
    """The axes of a grid are not orthogonal, by more than can be corrected."""

    id = "SAM-E0319"


class UnknownSpacing(DataError):
    """A file does not give the spacing or the orientation of its voxels in the patient."""

    id = "SAM-E0320"


class UnsafeArchive(DataError):
    """An archive contains paths that leave it, links, or too much to unpack."""

    id = "SAM-E0321"


class UnknownLayout(DataError):
    """A folder has none of the known dataset layouts, or several."""

    id = "SAM-E0322"


class PictureOrder(DataError):
    """Label pictures do not fit the slices of their series."""

    id = "SAM-E0323"


class ClassMissing(DataError):
    """A class has no voxel in the training cases."""

    id = "SAM-E0324"


class NeedsMending(DataError):
    """A dataset has errors, found by the doctor, that must be corrected before training."""

    id = "SAM-E0325"


class UnmatchedNames(DataError):
    """A label map names labels that the data set, or the label maps to compare with, do not have.

    `names` are the names that match none.
    """

    id = "SAM-E0326"

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.names = names


class BadPrompts(DataError):
    """A file of prompts is unreadable, of another version, or contradicts itself."""

    id = "SAM-E0327"


class DamagedLog(DataError):
    """A line of a session's log cannot be read or followed."""

    id = "SAM-E0328"


class BadList(DataError):
    """A list of scans cannot be read, lacks a column, or has a row that names no case, scan or output."""

    id = "SAM-E0329"


class AccessRefused(DataError):
    """A remote store refuses to have a file read, or there are no credentials for it."""

    id = "SAM-E0330"


class Unreachable(DataError):
    """A remote store cannot be reached, or does not answer as one."""

    id = "SAM-E0331"


class MixedShards(DataError):
    """The shards in a folder of outputs are parts of different lists of cases."""

    id = "SAM-E0332"
