"""Native slices and the square that a network sees, converted both ways.

The longer physical side fills the square, the shape in mm is kept, and the rest is padded evenly on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from jaxtyping import Float, Integer
from torch import Tensor

from sautomed.config import DataSettings
from sautomed.errors import UnknownLabels
from sautomed.model.walk_order import neighbours
from sautomed.scans.volume import Volume


@dataclass(frozen=True)
class SliceFit:
    """Position of the slices of one grid in the network's square.

    Attributes:
        native: Rows and columns of a native slice.
        spacing_mm: Of rows and columns.
        size: Side of the square in pixels.
    """

    native: tuple[int, int]
    spacing_mm: tuple[float, float]
    size: int

    @property
    def inner(self) -> tuple[int, int]:
        """Rows and columns of the slice inside the square."""
        sides_mm = [n * s for n, s in zip(self.native, self.spacing_mm, strict=True)]
        return tuple(max(1, round(self.size * side / max(sides_mm))) for side in sides_mm)  # type: ignore[return-value]  # two sides in, two out

    @property
    def offset(self) -> tuple[int, int]:
        """Rows above and columns left of the slice in the square."""
        h, w = self.inner
        return (self.size - h) // 2, (self.size - w) // 2

    def to_network(self, slices: Float[Tensor, "n h w"]) -> Float[Tensor, "n s s"]:
        """Resize slices without aliasing, zeros around."""
        inner = nnf.interpolate(slices[:, None], self.inner, mode="bilinear", align_corners=False, antialias=True)
        return self._pad(inner[:, 0])

    def labels_to_network(self, labels: Integer[Tensor, "n h w"], classes: int) -> Integer[Tensor, "n s s"]:
        """Resize each class's mask as an image; the strongest wins, so contours stay smooth when slices grow."""
        best = torch.full((len(labels), *self.inner), 0.0)
        winner = torch.zeros(best.shape, dtype=torch.uint8)
        for k in range(classes + 1):
            mask = (labels == k).float()[:, None]
            strength = nnf.interpolate(mask, self.inner, mode="bilinear", align_corners=False, antialias=True)[:, 0]
            winner[strength > best] = k
            best = torch.maximum(best, strength)
        return self._pad(winner)

    def to_native(self, logits: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h2 w2"]:
        """Interpolate logits of any resolution over the square to the native grid, once."""
        axes = []
        for n, inner, offset in zip(self.native, self.inner, self.offset, strict=True):
            pixels = (torch.arange(n, device=logits.device) + 0.5) * inner / n + offset
            axes.append(pixels / self.size * 2 - 1)
        grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), -1)
        return nnf.grid_sample(
            logits,
            grid.expand(len(logits), -1, -1, -1).to(logits.dtype),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )

    def boxes_to_native(self, boxes: Float[Tensor, "*k 4"]) -> Float[Tensor, "*k 4"]:
        """Convert boxes xyxy in [0, 1] of the square to pixels of the native slice, whose edges are 0 and its sides."""
        (h, w), (top, left), (rows, columns) = self.inner, self.offset, self.native
        shift = boxes.new_tensor([left, top, left, top])
        scale = boxes.new_tensor([columns / w, rows / h, columns / w, rows / h])
        return (boxes * self.size - shift) * scale

    def boxes_to_network(self, boxes: Float[Tensor, "*k 4"]) -> Float[Tensor, "*k 4"]:
        """Convert boxes xyxy in pixels of the native slice to [0, 1] of the square; undoes `boxes_to_native`."""
        (h, w), (top, left), (rows, columns) = self.inner, self.offset, self.native
        shift = boxes.new_tensor([left, top, left, top])
        scale = boxes.new_tensor([w / columns, h / rows, w / columns, h / rows])
        return (boxes * scale + shift) / self.size

    def _pad(self, inner: Tensor) -> Tensor:
        (top, left), (h, w) = self.offset, self.inner
        return nnf.pad(inner, (left, self.size - w - left, top, self.size - h - top))


def fit_of(volume: Volume, settings: DataSettings) -> SliceFit:
    """Return how a volume's slices lie in the network's square."""
    (_, h, w), (_, row_mm, col_mm) = volume.array.shape, volume.spacing_mm
    return SliceFit((h, w), (row_mm, col_mm), int(settings.image_size))


def consecutive(labels: np.ndarray, values: Sequence[int], case: str) -> np.ndarray:
    """Convert label values of a file to classes 1..k in the order of `values`; 0 stays background.

    Args:
        case: Named in the error.
    Raises:
        UnknownLabels: A value is not among `values`.
    """
    table = np.full(int(max(labels.max(), *values)) + 1, 255, np.uint8)
    table[0] = 0
    table[list(values)] = np.arange(1, len(values) + 1)
    classes = table[labels]
    if (classes == 255).any():
        raise UnknownLabels(
            f"label values {sorted(set(labels[classes == 255].tolist()))} are not declared.",
            where=case,
            cure="Declare them in dataset.json.",
        )
    return classes


def automatic_size(sides: list[tuple[float, float]], bounds: tuple[int, int]) -> int:
    """Return the median native slice's side in pixels, rounded up to a multiple of 16, within bounds.

    Args:
        sides: Longer side in mm and finer in-plane spacing in mm, of each case.
    """
    pixels = sorted(side / spacing for side, spacing in sides)[len(sides) // 2]
    low, high = bounds
    return int(min(max(-(-pixels // 16) * 16, low), high))


def channel_slices(t: int, depth: int, channels: str) -> tuple[int, int, int]:
    """Return the slices in the trunk's three channels for slice t: itself three times, or between its neighbours."""
    return (t, t, t) if channels == "repeat" else neighbours(t, depth)
