"""Errors of the command line, a setting or an output: 02xx, exit 2."""

# ruff: noqa: N818  (the names say what is wrong; a suffix "Error" would add nothing)

from sautomed.errors.base import EXIT_USAGE, SautomedError


class UsageError(SautomedError):
    """The command or its options cannot be carried out as given."""

    id = "SAM-E0200"
    exit_code = EXIT_USAGE


class UnknownSetting(UsageError):
    """A setting does not exist, or has an invalid value."""

    id = "SAM-E0201"


class TargetExists(UsageError):
    """The output exists already and may not be overwritten."""

    id = "SAM-E0202"


class UnwritableTarget(UsageError):
    """The output cannot be written: no permission, no space, or a file or folder in the way."""

    id = "SAM-E0203"


class UnknownFormat(UsageError):
    """The name of the output does not end in a format that is written."""

    id = "SAM-E0204"


class NoDicomSource(UsageError):
    """DICOM output needs a scan from a DICOM series that was not resampled and whose images have UIDs of their own."""

    id = "SAM-E0205"


class PromptsNeeded(UsageError):
    """The system needs boxes of the organs, and none were given."""

    id = "SAM-E0206"


class PackageMissing(UsageError):
    """An optional package that the request needs is not installed."""

    id = "SAM-E0207"


class TargetInUse(UsageError):
    """Another process writes the output now."""

    id = "SAM-E0208"


class PromptsMismatch(UsageError):
    """A file of prompts belongs to another scan or model."""

    id = "SAM-E0209"


class LogMismatch(UsageError):
    """The log of a session holds edits of another scan, model or walk."""

    id = "SAM-E0210"


class NoCluster(UsageError):
    """There is no Ray cluster at the address, or its machines have other versions than this one."""

    id = "SAM-E0211"


class TaskMismatch(UsageError):
    """The processes that were started for a training are not as many as its devices and nodes."""

    id = "SAM-E0215"
