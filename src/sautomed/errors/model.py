"""Errors of weights, a model folder or a checkpoint: 04xx, exit 4."""

# ruff: noqa: N818  (the names say what is wrong; a suffix "Error" would add nothing)

from sautomed.errors.base import EXIT_MODEL, SautomedError


class ModelError(SautomedError):
    """Weights, a model folder or a checkpoint cannot be used."""

    id = "SAM-E0400"
    exit_code = EXIT_MODEL


class WrongWeights(ModelError):
    """A state dict has missing, unexpected or misshapen entries, or other numbers than those published."""

    id = "SAM-E0401"


class WeightsNotFound(ModelError):
    """The weights are neither a file, nor a folder, nor on the Hugging Face hub, or their package is not installed."""

    id = "SAM-E0402"


class NotAModel(ModelError):
    """A path is neither a training run nor a model folder."""

    id = "SAM-E0403"


class TrunkChanged(ModelError):
    """The pretrained trunk differs from the one that the model was trained on."""

    id = "SAM-E0404"


class NothingToResume(ModelError):
    """A run has no checkpoint to continue from, or one of another configuration."""

    id = "SAM-E0405"


class DamagedWeights(ModelError):
    """A weights file is cut short, empty or otherwise unreadable."""

    id = "SAM-E0406"


class UnsafeWeights(ModelError):
    """A weights file contains Python objects that would run code when read."""

    id = "SAM-E0407"


class TrainingDiverged(ModelError):
    """The training loss is not finite."""

    id = "SAM-E0408"


class RanksLost(ModelError):
    """A process of a training on several devices ended or did not come, so that the others cannot go on."""

    id = "SAM-E0415"


class ExternalFailed(ModelError):
    """An external package, such as nnU-Net, failed or gave unusable output."""

    id = "SAM-E0409"


class NotConvertible(ModelError):
    """The engine that was asked for cannot compute this network."""

    id = "SAM-E0410"
