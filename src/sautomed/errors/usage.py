"""The command line, a setting or a target: 02xx, exit 2."""

# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from sautomed.errors.base import EXIT_USAGE, SautomedError


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


class NoDicomSource(UsageError):
    """DICOM output was asked for a scan that is no DICOM series, or no longer lies on its grid."""

    id = "SAM-E0205"


class PromptsNeeded(UsageError):
    """The system must be told where the organs are, and nobody did."""

    id = "SAM-E0206"


class PackageMissing(UsageError):
    """An optional package that the request needs is not installed."""

    id = "SAM-E0207"
