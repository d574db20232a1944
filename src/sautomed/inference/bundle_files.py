"""The JSON files of a model folder, read and checked: whatever is wrong is an error of the folder."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sautomed.config import ModelSettings, SystemSettings
from sautomed.datasets import read_label_names
from sautomed.errors import NotAModel
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.scans.paths import read_json

FORMAT = 3
SAUTOMED_SINCE = 2  # the first format with today's parts of 3D-SAutoMed
SMALL_TRUNKS_SINCE = 3  # the first with today's upscaling behind a convolutional trunk; all else is as in format 1
_TRUNK = TypeAdapter(PretrainedTrunk | None)
T = TypeVar("T")


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json and check all that loading needs of it; raises NotAModel."""
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
        raise damaged(f"{key}: {first['msg']}", path) from error
    return config


def check_age(model: SystemSettings, written_as: int, folder: Path) -> None:
    """Raise NotAModel for a network whose weights would mean something else in today's.

    Args:
        written_as: The format of the folder.
    """
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


def read_dataset_json(path: Path) -> tuple[dict[int, str], str]:
    """Read label names by value, and the channel; raises NotAModel or BadDatasetJson."""
    labels, channels = read_label_names(path), read_json(path).get("channel_names")
    if not isinstance(channels, dict) or "0" not in channels:
        raise damaged('it has no "channel_names"', path)
    return labels, str(channels["0"])


def read_optional(path: Path, content: TypeAdapter[T], key: str | None = None) -> T | None:
    """Read a file, or what lies under a key of it; None if the folder was written without the file.

    Raises:
        NotAModel: It holds something else.
    """
    if not path.is_file():
        return None
    found = read_json(path, NotAModel)
    if not isinstance(found, dict):
        raise damaged("it must hold one JSON object", path)
    try:
        return content.validate_python(found if key is None else found.get(key))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (*(() if key is None else (key,)), *first["loc"])))
        raise damaged(f"{place}: {first['msg']}", path) from error


def damaged(fault: str, path: Path) -> NotAModel:
    """Return the error of a file that contradicts itself or the others."""
    return NotAModel(f"is damaged: {fault}.", where=path, cure="Copy the model folder again as a whole.")
