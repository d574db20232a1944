"""The pretrained trunk of a model folder, which is named there by place and hash where it is not held."""

from pathlib import Path

from sautomed.config import SamTrunkSettings, Settings
from sautomed.errors import TrunkChanged, UsageError
from sautomed.inference.bundle_files import damaged
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.segmenter import Segmenter


def with_trunk(settings: Settings, pretrained: PretrainedTrunk | None, weights: str | None, folder: Path) -> Settings:
    """Return settings with the trunk's present place, and with the input scaling of the training, whatever its name.

    Args:
        pretrained: As the folder names it; None of a model without.
        weights: Where it is now, if it was moved.
    Raises:
        NotAModel: The folder contradicts itself.
        UsageError: `weights` are given, but the model needs no pretrained trunk.
    """
    trunk, path = getattr(settings.model, "trunk", None), folder / "config.json"
    if settings.data.image_size == "auto":
        raise damaged("data.image_size is not decided", path)
    if isinstance(trunk, SamTrunkSettings) != (pretrained is not None):
        raise damaged("model.trunk and pretrained_trunk contradict each other", path)
    if weights is not None and (pretrained is None or pretrained.shape is not None):
        raise UsageError(
            "needs no pretrained trunk: all its weights are in the model folder.",
            where=folder,
            cure="Leave out --weights.",
        )
    if pretrained is None:
        return settings
    return _with_trunk_settings(settings, input_norm=pretrained.input_norm, **({"weights": weights} if weights else {}))


def with_absolute_path(settings: Settings) -> Settings:
    """Return settings with the absolute path of a trunk's file or folder, so that the model works from any folder."""
    trunk = getattr(settings.model, "trunk", None)
    if not isinstance(trunk, SamTrunkSettings):
        return settings
    path = Path(trunk.weights).expanduser()
    return _with_trunk_settings(settings, weights=str(path.absolute())) if path.exists() else settings


def check_trunk(network: Segmenter, pretrained: PretrainedTrunk | None, folder: Path) -> None:
    """Raise TrunkChanged unless the network has the trunk that the folder names."""
    present = network.pretrained.sha256 if network.pretrained else "none"
    if pretrained and pretrained.sha256 != present:
        raise TrunkChanged(
            f"was trained on the trunk {pretrained.source} with hash {pretrained.sha256[:12]}..., but what is "
            f"there now has {present[:12]}...; its masks would be wrong.",
            where=folder,
            cure="Give the original weights with --weights, or train again.",
        )


def _with_trunk_settings(settings: Settings, **changes: str) -> Settings:
    trunk = getattr(settings.model, "trunk").model_copy(update=changes)  # noqa: B009  (not every model has one)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"trunk": trunk})})
