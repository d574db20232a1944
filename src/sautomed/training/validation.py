"""How good a model is on prepared cases, at its own resolution."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from sautomed.config import SegmentSettings
from sautomed.inference.view import with_channels
from sautomed.model.segmenter import Segmenter
from sautomed.training.prepare import PreparedCase


class PreparedView:
    """A prepared case as the network sees it (`SliceReader`)."""

    def __init__(self, case: PreparedCase, channels: str, device: torch.device):
        self._images, self._labels = case.images, case.labels
        self._channels, self._device, self.depth = channels, device, len(case.images)

    def images(self, rows: Sequence[int]) -> Tensor:
        return with_channels(self._read, rows, self.depth, self._channels)

    def _read(self, rows: list[int]) -> Tensor:
        return torch.from_numpy(self._images[rows].astype(np.float32)).to(self._device)

    def truth(self, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._labels[list(rows)].astype(np.int64)).to(self._device)


@torch.inference_mode()
def network_dice(model: Segmenter, case: PreparedCase, channels: str, walking: SegmentSettings) -> Tensor:
    """DSC per class of a prepared case, nan where neither truth nor prediction has the class."""
    device = next(model.parameters()).device
    view = PreparedView(case, channels, device)
    sums = torch.zeros(3, model.classes, dtype=torch.float64, device=device)
    for predicted in model.predict(view, walking):
        truth = view.truth([predicted.index])[0]
        found = nnf.interpolate(predicted.logits[None].float(), truth.shape, mode="bilinear").argmax(1)[0]
        sums += _overlap(found, truth, model.classes)
    return (2 * sums[0] / (sums[1] + sums[2])).cpu()


def _overlap(found: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Pixels shared, found and true of each class: (3 k)."""
    both = torch.where(found == truth, truth, 0)
    return torch.stack([torch.bincount(x.flatten(), minlength=classes + 1)[1:] for x in (both, found, truth)]).double()
