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

from pydantic import TypeAdapter

from sautomed.baselines import build_empty_segmenter, build_segmenter
from sautomed.config import EfficientNetLiteTrunkSettings, Settings, SystemSettings, parse_settings
from sautomed.errors import BadDatasetJson, NotAModel, UnknownSetting, WeightsNotFound
from sautomed.inference.bundle_files import FORMAT, check_age, read_config, read_dataset_json, read_optional
from sautomed.inference.bundle_trunk import check_trunk, with_absolute_path, with_trunk
from sautomed.inference.bundle_weights import load_weights, save_weights
from sautomed.inference.confidence.predictor import DscPredictor
from sautomed.inference.confidence.shape import OrganSize
from sautomed.inference.engine.bf16_check import Bf16Check
from sautomed.inference.percentiles import IntensityPercentiles
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import write_json

PREDICTOR_NAME = "confidence.json"
_INTENSITIES = TypeAdapter(tuple[IntensityPercentiles, ...])
_ORGAN_SIZES = TypeAdapter(tuple[dict[str, OrganSize], ...])
_PREDICTOR = TypeAdapter(DscPredictor)
_BF16_CHECK = TypeAdapter(Bf16Check | None)


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
            "settings": with_absolute_path(bundle.settings).model_dump(mode="json"),
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
    save_weights(bundle.network, folder / "model.safetensors")


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
    config = read_config(folder / "config.json")
    try:
        settings = parse_settings(config["settings"], str(folder / "config.json"))
        check_age(settings.model, config["format"], folder)
        trunk: PretrainedTrunk | None = config["pretrained_trunk"]
        settings = with_trunk(settings, trunk, weights, folder)
        labels, channel = read_dataset_json(folder / "dataset.json")
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
    check_trunk(network, trunk, folder)
    load_weights(network, folder / "model.safetensors")
    intensities = read_optional(folder / "intensities.json", _INTENSITIES, "training_cases")
    organ_sizes = read_optional(folder / "organ_sizes.json", _ORGAN_SIZES, "training_cases")
    predictor = read_optional(folder / PREDICTOR_NAME, _PREDICTOR)
    bf16_check = read_optional(folder / "metrics.json", _BF16_CHECK, "bf16")
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
