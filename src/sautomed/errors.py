"""Every fault that sautomed can name, with a stable id, an exit code and a cure.

A message reads "<where>: <fault> <cure>": what is wrong, in which file or case, why it matters, and what to do about
it. Ids never change their meaning; exit codes belong to families, so that a script can tell bad data from a bad model.
Knows nothing of the rest of the package.
"""
# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_INTERNAL = 1  # a bug in sautomed: anything that is not a SautomedError
EXIT_USAGE = 2  # the command line, a setting or a target folder
EXIT_DATA = 3  # a scan, a label map or a dataset
EXIT_MODEL = 4  # weights, a model folder or a checkpoint
EXIT_MEMORY = 5  # the machine or the accelerator ran out of memory
EXIT_SOME_CASES = 6  # a folder was worked through, but not every case succeeded
EXIT_INTERRUPTED = 130  # Ctrl-C


class SautomedError(Exception):
    """The root of all faults that sautomed names.

    Args:
        fault: What is wrong and why it matters, as whole sentences.
        where: The file, case or setting concerned; empty if there is none.
        cure: What the user can do, as a whole sentence.
    """

    id: ClassVar[str] = "SAM-E0100"
    exit_code: ClassVar[int] = EXIT_INTERNAL

    def __init__(self, fault: str, *, where: str | Path = "", cure: str) -> None:
        self.fault = fault
        self.where = str(where)
        self.cure = cure
        place = f"{self.where}: " if self.where else ""
        super().__init__(f"{place}{fault} {cure}".rstrip())

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception that crosses a process is rebuilt from positional arguments; keyword-only ones would be lost.
        return _rebuild, (type(self), self.fault, self.where, self.cure)


def _rebuild(kind: type[SautomedError], fault: str, where: str, cure: str) -> SautomedError:
    return kind(fault, where=where, cure=cure)


# --- Usage: 02xx, exit 2 ----------------------------------------------------------------------------------------------


class UsageError(SautomedError):
    """The request itself cannot be carried out."""

    id = "SAM-E0200"
    exit_code = EXIT_USAGE


class UnknownSetting(UsageError):
    """A setting has a name or a value that does not exist."""

    id = "SAM-E0201"


class TargetExists(UsageError):
    """The output is there already and may not be overwritten."""

    id = "SAM-E0202"


class UnwritableTarget(UsageError):
    """The output cannot be written: no permission, no space, or something in the way."""

    id = "SAM-E0203"


class UnknownFormat(UsageError):
    """The output's name ends in no format that sautomed writes."""

    id = "SAM-E0204"


# --- Data: 03xx, exit 3 -----------------------------------------------------------------------------------------------


class DataError(SautomedError):
    """A scan, a label map or a dataset cannot be used."""

    id = "SAM-E0300"
    exit_code = EXIT_DATA


class MissingFile(DataError):
    """A file or folder that should be read is not there."""

    id = "SAM-E0301"


class NotNifti(DataError):
    """The content of a file is not NIfTI, whatever its name says."""

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
    """Images and label maps do not pair up."""

    id = "SAM-E0313"


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


# --- Models: 04xx, exit 4 ---------------------------------------------------------------------------------------------


class ModelError(SautomedError):
    """Weights, a model folder or a checkpoint cannot be used."""

    id = "SAM-E0400"
    exit_code = EXIT_MODEL


class WrongWeights(ModelError):
    """A state dict has missing, unexpected or misshapen entries."""

    id = "SAM-E0401"


class WeightsNotFound(ModelError):
    """The named weights are neither a file, nor a folder, nor on the hub."""

    id = "SAM-E0402"


class NotAModel(ModelError):
    """A path is neither a run nor a model folder."""

    id = "SAM-E0403"


class TrunkChanged(ModelError):
    """The pretrained trunk is not the one that the model was trained on."""

    id = "SAM-E0404"


class NothingToResume(ModelError):
    """A run has no checkpoint to continue from, or one of another configuration."""

    id = "SAM-E0405"


class DamagedWeights(ModelError):
    """A weights file is cut short, empty or otherwise unreadable."""

    id = "SAM-E0406"


class UnsafeWeights(ModelError):
    """A weights file holds Python objects that would run code when read."""

    id = "SAM-E0407"


class TrainingDiverged(ModelError):
    """The loss is no longer a number."""

    id = "SAM-E0408"


# --- Resources and batches: 05xx and 06xx -----------------------------------------------------------------------------


class MemoryShortage(SautomedError):
    """The machine or the accelerator has too little memory for the request."""

    id = "SAM-E0501"
    exit_code = EXIT_MEMORY


class SomeCasesFailed(SautomedError):
    """A folder was worked through to its end, but some cases failed; `result` holds what the others gave."""

    id = "SAM-E0601"
    exit_code = EXIT_SOME_CASES

    def __init__(self, fault: str, *, where: str | Path = "", cure: str, result: object = None) -> None:
        super().__init__(fault, where=where, cure=cure)
        self.result = result
