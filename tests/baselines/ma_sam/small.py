"""MA-SAM small enough for tests, on a SAM of three blocks and on a ResNet."""

import torch

from sautomed.baselines import build_segmenter
from sautomed.baselines.ma_sam import MaSam
from sautomed.config.baselines import MaSamSettings

from ...conftest import SMALL_MODEL
from ...model.sam.official_layout import noise

SIZE, ORGANS, RANK, WIDTH = 128, 2, 3, 8


def on_sam(weights, **changes) -> MaSamSettings:
    return MaSamSettings(trunk={"weights": str(weights)}, fact_rank=RANK, adapter_width=WIDTH, **changes)


def from_scratch(**changes) -> MaSamSettings:
    decoder = {key: SMALL_MODEL["decoder"][key] for key in ("heads", "mlp", "widths")}
    return MaSamSettings(trunk=SMALL_MODEL["trunk"], dim=SMALL_MODEL["dim"], decoder=decoder, **changes)


def make_model(settings: MaSamSettings) -> MaSam:
    """Build a model without parameters that are all zero, so that every part has an effect."""
    torch.manual_seed(0)
    model = build_segmenter(settings, ORGANS, SIZE)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def stacks(batch: int, slices: int = 5, salt: int = 9) -> torch.Tensor:
    shape = (batch, slices, 3, SIZE, SIZE)
    return noise(torch.Size(shape).numel(), salt).reshape(shape).abs()


def predict(model, images):
    with torch.no_grad():
        return model(images)
