"""Weights, a model folder or a checkpoint: 04xx, exit 4."""

# ruff: noqa: N818  (a fault's name says the fault; "Error" at its end would say nothing more)

from sautomed.errors.base import EXIT_MODEL, SautomedError


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


class ExternalFailed(ModelError):
    """A system in a package of its own stopped, or gave what cannot be used."""

    id = "SAM-E0409"
