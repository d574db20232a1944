"""Model folders: everything that `segment` needs, in common file formats.

model.safetensors   the trained weights; the frozen part of a pretrained trunk is left out and named by source and hash.
                    Weights in float16 are read too, into float32
config.json         the resolved settings
dataset.json        label names, as nnU-Net writes them
intensities.json    percentiles of the intensities of each training scan, by which scans in another unit are recognised;
                    older folders have none
organ_sizes.json    sizes of the organs in each training label map, by which results of an unusual size are recognised;
                    older folders have none
confidence.json     predicts the DSC of an organ from the signals of a result (docs/confidence.md); not of a model
                    without validation cases
metrics.json        scores of the validation cases, in bf16 too where the training could check that; `train` writes it
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor

from sautomed.baselines import build_empty_segmenter, build_segmenter
from sautomed.config import (
    EfficientNetLiteTrunkSettings,
    ModelSettings,
    SamTrunkSettings,
    Settings,
    SystemSettings,
    parse_settings,
)
from sautomed.datasets import read_label_names
from sautomed.errors import (
    BadDatasetJson,
    NotAModel,
    TrunkChanged,
    UnknownSetting,
    UsageError,
    WeightsNotFound,
    WrongWeights,
)
from sautomed.errors.text import listed
from sautomed.inference.confidence.predictor import DscPredictor
from sautomed.inference.confidence.shape import OrganSize
from sautomed.inference.engine.bf16_check import Bf16Check
from sautomed.inference.percentiles import IntensityPercentiles
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import atomic_write, write_json
from sautomed.scans.paths import read_json

PREDICTOR_NAME = "confidence.json"
FORMAT = 3
SAUTOMED_SINCE = 2  # the first format with today's parts of 3D-SAutoMed
SMALL_TRUNKS_SINCE = 3  # the first with today's upscaling behind a convolutional trunk; all else is as in format 1
_TRUNK = TypeAdapter(PretrainedTrunk | None)
_INTENSITIES = TypeAdapter(tuple[IntensityPercentiles, ...])
_ORGAN_SIZES = TypeAdapter(tuple[dict[str, OrganSize], ...])
_PREDICTOR = TypeAdapter(DscPredictor)
_BF16_CHECK = TypeAdapter(Bf16Check | None)
T = TypeVar("T")


@dataclass(frozen=True)
class Bundle:
    """A trained network with its settings, labels, image channel and the intensities that it knows.

    Attributes:
        labels: Value in the label map -> organ; class k of the network is the k-th smallest value.
        channel: Name of the image channel, such as CT.
        intensities: Of each training scan; none if unknown.
        organ_sizes: Of the organs in each training label map, on its own grid; none if unknown.
        predictor: Of the DSC; None without validation cases.
        bf16_check: Of the validation cases; None if they were not segmented in bf16.
    """

    network: Segmenter
    settings: Settings
    labels: dict[int, str]
    channel: str
    intensities: tuple[IntensityPercentiles, ...] = ()
    organ_sizes: tuple[dict[str, OrganSize], ...] = ()
    predictor: DscPredictor | None = None
    bf16_check: Bf16Check | None = None


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a model folder, the weights last; each file is written atomically."""
    pretrained = asdict(bundle.network.pretrained) if bundle.network.pretrained else None
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "settings": _with_absolute_path(bundle.settings).model_dump(mode="json"),
            "pretrained_trunk": pretrained,
        },
    )
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": bundle.channel},
            "labels": {"background": 0, **{name: value for value, name in sorted(bundle.labels.items())}},
            "file_ending": ".nii.gz",
        },
    )
    if bundle.intensities:
        write_json(folder / "intensities.json", {"training_cases": [asdict(case) for case in bundle.intensities]})
    if bundle.organ_sizes:
        cases = [{organ: asdict(size) for organ, size in case.items()} for case in bundle.organ_sizes]
        write_json(folder / "organ_sizes.json", {"training_cases": cases})
    if bundle.predictor is None:
        (folder / PREDICTOR_NAME).unlink(missing_ok=True)  # that of earlier weights
    else:
        write_predictor(folder, bundle.predictor)
    (folder / "metrics.json").unlink(missing_ok=True)  # of earlier weights, too, which it may call checked in bf16
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained_state(bundle.network).items()}
    with atomic_write(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(state))  # safetensors' own writer hides the error of a full disk


def write_predictor(folder: Path, predictor: DscPredictor) -> None:
    """Write the predictor of the DSC into a model folder."""
    write_json(folder / PREDICTOR_NAME, predictor.model_dump(mode="json"))


def load_bundle(folder: Path, weights: str | None = None) -> Bundle:
    """Read a model folder onto the CPU, in evaluation mode.

    Args:
        weights: Where the pretrained trunk is now, if it was moved since training.
    Raises:
        NotAModel: It is no model folder.
        UsageError: `weights` are given, but the model needs no pretrained trunk.
        ModelError: The weights do not fit the settings, or a pretrained trunk is missing or has changed.
    """
    for name in ("config.json", "dataset.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise NotAModel(
                f"is not a model folder: {name} is missing.",
                where=folder,
                cure="Give the folder that `sautomed train` wrote, or the run that holds it.",
            )
    config = _read_config(folder / "config.json")
    try:
        settings = parse_settings(config["settings"], str(folder / "config.json"))
        _check_age(settings.model, config["format"], folder)
        trunk: PretrainedTrunk | None = config["pretrained_trunk"]
        settings = _with_trunk(settings, trunk, weights, folder)
        labels, channel = _read_dataset_json(folder / "dataset.json")
        network = _build_network(settings, len(labels), trunk)
    except (UnknownSetting, BadDatasetJson) as error:  # here these are errors of the model folder
        raise NotAModel(
            error.fault, where=error.where or folder, cure="Use the sautomed version that wrote it, or copy it again."
        ) from error
    except WeightsNotFound as error:
        raise WeightsNotFound(
            f"{error.fault} The model in {folder} needs the trunk that it was trained on.",
            where=error.where,
            cure="Give its present place with --weights.",
        ) from error
    _check_trunk(network, trunk, folder)
    _load_weights(network, folder / "model.safetensors")
    intensities = _read_optional(folder / "intensities.json", _INTENSITIES, "training_cases")
    organ_sizes = _read_optional(folder / "organ_sizes.json", _ORGAN_SIZES, "training_cases")
    predictor = _read_optional(folder / PREDICTOR_NAME, _PREDICTOR)
    bf16_check = _read_optional(folder / "metrics.json", _BF16_CHECK, "bf16")
    return Bundle(
        network.eval(), settings, labels, channel, intensities or (), organ_sizes or (), predictor, bf16_check
    )


def _build_network(settings: Settings, classes: int, trunk: PretrainedTrunk | None) -> Segmenter:
    """Build the network; a pretrained trunk is only read if the folder leaves out a part of it."""
    model, size = _without_initial_files(settings.model), int(settings.data.image_size)
    if trunk is None or trunk.shape is None:
        return build_segmenter(model, classes, size)
    return build_empty_segmenter(model, classes, size, trunk)


def _without_initial_files(model: SystemSettings) -> SystemSettings:
    """Remove the files that training started from: the folder holds all that was trained."""
    initial_files = {"checkpoint", "weights"} & type(model).model_fields.keys()
    changes: dict[str, object] = dict.fromkeys(initial_files)
    trunk = getattr(model, "trunk", None)
    if isinstance(trunk, EfficientNetLiteTrunkSettings):
        changes["trunk"] = trunk.model_copy(update={"weights": None})
    return model.model_copy(update=changes)


def _read_config(path: Path) -> dict[str, Any]:
    """Read config.json and check all that loading needs of it."""
    config = read_json(path, NotAModel)
    if not isinstance(config, dict) or config.get("format") not in range(1, FORMAT + 1) or "settings" not in config:
        raise NotAModel(
            f"is of no model format that this version reads, which are 1 to {FORMAT}.",
            where=path,
            cure="Use the sautomed version that wrote it, or train again.",
        )
    try:
        config["pretrained_trunk"] = _TRUNK.validate_python(config.get("pretrained_trunk"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("pretrained_trunk", *first["loc"])))
        raise _damaged(f"{key}: {first['msg']}", path) from error
    return config


def _check_age(model: SystemSettings, written_as: int, folder: Path) -> None:
    """Refuse a network whose weights would mean something else in today's."""
    system = "3D-SAutoMed" if isinstance(model, ModelSettings) else model.name
    trunk = getattr(model, "trunk", None)
    if isinstance(model, ModelSettings) and written_as < SAUTOMED_SINCE:
        fault = "its prompts carried no boxes, and its history tokens were filtered differently."
    elif trunk is not None and trunk.kind != "sam" and written_as < SMALL_TRUNKS_SINCE:
        fault = "masks were upscaled by other layers behind its small trunk."
    else:
        return
    raise NotAModel(
        f"holds a {system} of the model format {written_as}: {fault}",
        where=folder,
        cure="Train it again, or use the sautomed version that wrote it.",
    )


def _damaged(fault: str, path: Path) -> NotAModel:
    return NotAModel(f"is damaged: {fault}.", where=path, cure="Copy the model folder again as a whole.")


def _read_dataset_json(path: Path) -> tuple[dict[int, str], str]:
    """Read label names by value, and the channel."""
    labels, channels = read_label_names(path), read_json(path).get("channel_names")
    if not isinstance(channels, dict) or "0" not in channels:
        raise _damaged('it has no "channel_names"', path)
    return labels, str(channels["0"])


def _read_optional(path: Path, content: TypeAdapter[T], key: str | None = None) -> T | None:
    """Read a file, or what lies under a key of it; None if the folder was written without the file."""
    if not path.is_file():
        return None
    found = read_json(path, NotAModel)
    if not isinstance(found, dict):
        raise _damaged("it must hold one JSON object", path)
    try:
        return content.validate_python(found if key is None else found.get(key))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (*(() if key is None else (key,)), *first["loc"])))
        raise _damaged(f"{place}: {first['msg']}", path) from error


def trained_state(network: Segmenter) -> dict[str, Tensor]:
    """Return all weights but the frozen part of a pretrained trunk; shared ones only under their first name."""
    parameters, state = dict(network.named_parameters()), network.state_dict()
    leaves_out_frozen = network.pretrained is not None and network.pretrained.shape is None
    kept = {
        name
        for name, parameter in parameters.items()
        if not (leaves_out_frozen and name.startswith("trunk.") and not parameter.requires_grad)
    }
    kept |= {name for name, _ in network.named_buffers()}
    return {name: tensor for name, tensor in state.items() if name in kept}


def _with_trunk(settings: Settings, pretrained: PretrainedTrunk | None, weights: str | None, folder: Path) -> Settings:
    """Return settings with the trunk's present place, and with the input scaling of the training, whatever its name."""
    trunk, path = getattr(settings.model, "trunk", None), folder / "config.json"
    if settings.data.image_size == "auto":
        raise _damaged("data.image_size is not decided", path)
    if isinstance(trunk, SamTrunkSettings) != (pretrained is not None):
        raise _damaged("model.trunk and pretrained_trunk contradict each other", path)
    if weights is not None and (pretrained is None or pretrained.shape is not None):
        raise UsageError(
            "needs no pretrained trunk: all its weights are in the model folder.",
            where=folder,
            cure="Leave out --weights.",
        )
    if pretrained is None:
        return settings
    return _with_trunk_settings(settings, input_norm=pretrained.input_norm, **({"weights": weights} if weights else {}))


def _with_absolute_path(settings: Settings) -> Settings:
    """Return settings with the absolute path of a trunk's file or folder, so that the model works from any folder."""
    trunk = getattr(settings.model, "trunk", None)
    if not isinstance(trunk, SamTrunkSettings):
        return settings
    path = Path(trunk.weights).expanduser()
    return _with_trunk_settings(settings, weights=str(path.absolute())) if path.exists() else settings


def _with_trunk_settings(settings: Settings, **changes: str) -> Settings:
    trunk = getattr(settings.model, "trunk").model_copy(update=changes)  # noqa: B009  (not every model has one)
    return settings.model_copy(update={"model": settings.model.model_copy(update={"trunk": trunk})})


def _check_trunk(network: Segmenter, pretrained: PretrainedTrunk | None, folder: Path) -> None:
    present = network.pretrained.sha256 if network.pretrained else "none"
    if pretrained and pretrained.sha256 != present:
        raise TrunkChanged(
            f"was trained on the trunk {pretrained.source} with hash {pretrained.sha256[:12]}..., but what is "
            f"there now has {present[:12]}...; its masks would be wrong.",
            where=folder,
            cure="Give the original weights with --weights, or train again.",
        )


def _load_weights(network: Segmenter, path: Path) -> None:
    try:
        state = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WrongWeights(
            f"cannot be read as safetensors: {error}.",
            where=path,
            cure="Copy the model folder again; the file is damaged.",
        ) from error
    expected = trained_state(network)
    faults = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    faults += [f"{name} is unexpected" for name in sorted(state.keys() - expected.keys())]
    faults += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    if faults:
        raise WrongWeights(
            f"does not fit its config.json: {listed(faults, most=12)}.",
            where=path,
            cure="Copy the model folder again as a whole.",
        )
    network.load_state_dict(state, strict=False)
