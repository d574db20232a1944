"""Small scans and a small network, so that a whole run takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SMALL_MODEL: dict[str, Any] = {
    "trunk": {"kind": "resnet", "stem": 16, "widths": [16, 16, 16], "depths": [1, 1, 1]},
    "dim": 32,
    "slice_attention": {"heads": 2, "mlp_ratio": 1.0},
    "history": {"tokens": 3},
    "box_prompt": {"heads": 2, "feedforward": 32, "layers": 2},
    "decoder": {"heads": 2, "mlp": 32, "widths": [16, 8]},
}
SIZE = 128  # pixels of the network's input, the smallest
LABELS = {1: "bright", 5: "dark"}
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def write_case(scan: Path, seed: int, labels: Path | None = None) -> None:
    """Write a scan of noise with a bright and a dark block, and its label map."""
    import nibabel

    rng = np.random.default_rng(seed)
    row, column = rng.integers(3, 8, 2)
    truth = np.zeros((40, 32, 12), np.uint8)
    truth[row : row + 15, column : column + 12] = 1
    truth[25:35, 5 + row : 15 + row, 2:10] = 5
    image = rng.normal(100, 20, truth.shape) + 80.0 * (truth == 1) - 60.0 * (truth == 5)
    for path, array in ((scan, image.astype(np.float32)), (labels, truth)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)


def write_model(folder: Path) -> None:
    """Write a model folder with random weights."""
    import torch

    from sautomed.baselines import build_segmenter
    from sautomed.config import Settings
    from sautomed.inference.bundle import Bundle, save_bundle

    torch.manual_seed(0)
    data = {"image_size": SIZE, "channels": "neighbours", "plane": "axial", "modality": "other"}
    settings = Settings.model_validate({"preset": "small", "model": SMALL_MODEL, "data": data})
    network = build_segmenter(settings.model, 2, SIZE)
    for parameter in network.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    save_bundle(folder, Bundle(network, settings, LABELS, "MR"))
