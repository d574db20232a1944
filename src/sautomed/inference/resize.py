"""Native slices and the square that a network sees, converted both ways.

The longer physical side fills the square, the shape in mm is kept, and the rest is padded evenly on both sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Integer, UInt
from torch import Tensor

from sautomed.config import DataSettings
from sautomed.errors import UnknownLabels
from sautomed.model.walk_order import neighbours
from sautomed.scans.volume import Volume

ROUNDING = 1e-5  # of interpolated logits, relative to the largest


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
        return _interpolated(logits, *self._native_places(logits.device))

    def classes_to_native(self, logits: Float[Tensor, "k h w"]) -> UInt[Tensor, "h2 w2"]:
        """Return the class with the largest logit at each native pixel, as `to_native` and argmax would.

        Most of a slice is one class by far, so only classes and places where another could win are interpolated.
        """
        rows, columns = self._native_places(logits.device)
        winners = torch.zeros(self.native, dtype=torch.uint8, device=logits.device)
        contested = _contested(logits)
        classes = contested.flatten(1).any(1).nonzero()[:, 0]
        organs = contested[1:].any(0)
        down, across = _reached(organs.any(1), rows), _reached(organs.any(0), columns)
        if len(rows[down]) and len(columns[across]):
            native = _interpolated(logits[None, classes], rows[down], columns[across])[0]
            winners[down, across] = classes.to(torch.uint8)[native.max(0).indices]  # quicker than argmax
        return winners

    def _native_places(self, device: torch.device) -> tuple[Float[Tensor, " h2"], Float[Tensor, " w2"]]:
        """Return where the native rows and columns lie in the square, whose edges are -1 and 1."""
        rows, columns = (
            ((torch.arange(n, device=device) + 0.5) * inner / n + offset) / self.size * 2 - 1
            for n, inner, offset in zip(self.native, self.inner, self.offset, strict=True)
        )
        return rows, columns

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


def _interpolated(
    logits: Float[Tensor, "n k h w"], rows: Float[Tensor, " h2"], columns: Float[Tensor, " w2"]
) -> Float[Tensor, "n k h2 w2"]:
    """Interpolate at these rows and columns, where -1 and 1 are the edges."""
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    return nnf.grid_sample(
        logits,
        grid.expand(len(logits), -1, -1, -1).to(logits.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )


def _contested(logits: Float[Tensor, "k h w"]) -> Bool[Tensor, "k h+1 w+1"]:
    """Return where each class could be the largest between four neighbouring logits, or at the border.

    It cannot where another one is larger at its smallest corner than this one at its largest: an interpolated value
    lies between the corners. A margin covers rounding.
    """
    padded = nnf.pad(logits[None], (1, 1, 1, 1), mode="replicate")[0]
    largest, smallest = _of_corners(padded, torch.maximum), _of_corners(padded, torch.minimum)
    return ~(largest + ROUNDING * logits.abs().amax() < smallest.amax(0))


def _of_corners(
    logits: Float[Tensor, "k h w"], choose: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "k h-1 w-1"]:
    """Return the number that is chosen of each four neighbours."""
    of_rows = choose(logits[:, 1:], logits[:, :-1])
    return choose(of_rows[..., 1:], of_rows[..., :-1])


def _reached(cells: Bool[Tensor, " n1"], places: Float[Tensor, " m"]) -> slice:
    """Return the places between the first and the last of these cells along an axis.

    Args:
        cells: Each between two logits; the first and the last lie at the border.
        places: Rising, where -1 and 1 are the edges.
    """
    of_places = (((places + 1) * (len(cells) - 1) - 1) / 2).floor().long() + 1
    chosen = cells.nonzero()[:, 0]
    if len(chosen) == 0:
        return slice(0)
    bounds = torch.stack([chosen[0], chosen[-1] + 1])
    return slice(*torch.searchsorted(of_places, bounds).tolist())


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
