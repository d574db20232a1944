"""A volume as a network sees it, and a network's predictions back on the volume's grid."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt
from scipy import ndimage
from torch import Tensor

from sautomed.config import DataSettings
from sautomed.errors import PromptsNeeded
from sautomed.inference.intensity import intensity_range, scale_intensity
from sautomed.inference.resize import channel_slices, consecutive, fit_of
from sautomed.model.values import PredictedSlice
from sautomed.scans.volume import LabelMap, Volume

ReadSlices = Callable[[list[int]], Float[Tensor, "n s s"]]


class NetworkView:
    """A volume as the network sees it (`SliceReader`): windowed, resized, with channels, on the network's device.

    Args:
        data: Resolved; nothing is left on "auto".
        labels: Value in the label map -> organ; class k is the k-th smallest value.
        truth: Label map of the volume, for systems that are prompted from it.
    """

    def __init__(
        self,
        volume: Volume,
        data: DataSettings,
        device: torch.device,
        labels: Mapping[int, str],
        truth: LabelMap | None = None,
    ):
        self.depth, self.fit = len(volume.array), fit_of(volume, data)
        self._volume, self._truth, self._device = volume, truth, device
        self._bounds, self._channels = intensity_range(volume.array, data), data.channels
        self._values = sorted(labels)
        self._table = np.array([0, *self._values], label_type(labels))

    def images(self, rows: Sequence[int]) -> Float[Tensor, "n 3 s s"]:
        return with_channels(self._read, rows, self.depth, self._channels)

    def _read(self, rows: list[int]) -> Float[Tensor, "n s s"]:
        scaled = torch.from_numpy(scale_intensity(self._volume.array[rows], self._bounds))
        return self.fit.to_network(scaled.to(self._device))

    def truth(self, rows: Sequence[int]) -> Int[Tensor, "n s s"]:
        if self._truth is None:
            raise PromptsNeeded(
                "this system needs a prompt for each organ, and the scan has no label map to take them from.",
                where="prompts",
                cure="Run it in a study, which takes the prompts from the truth, or use a system that needs none.",
            )
        classes = consecutive(self._truth.array[list(rows)], self._values, "truth")
        return self.fit.labels_to_network(torch.from_numpy(classes), len(self._values)).long().to(self._device)

    def labels_of(self, predicted: PredictedSlice) -> UInt[np.ndarray, "h w"]:
        """Return the label values of a prediction on the native grid."""
        return self._table[self.fit.classes_to_native(predicted.logits.float()).cpu().numpy()]

    def labels_of_native(self, logits: Float[Tensor, "k1 h w"]) -> UInt[np.ndarray, "h w"]:
        """Return the label values of logits on the native grid."""
        classes = logits.max(0).indices  # quicker than argmax
        return self._table[classes.to(torch.uint8).cpu().numpy()]

    def boxes_of(self, predicted: PredictedSlice) -> Float[np.ndarray, "k 4"] | None:
        """Return the boxes that prompted a slice, x0 y0 x1 y1 in native pixels; nan where a class had none."""
        if predicted.boxes is None or predicted.present is None:
            return None
        return self.native_boxes(predicted.boxes, predicted.present)

    def predicted_boxes_of(self, predicted: PredictedSlice) -> Float[np.ndarray, "k 4"] | None:
        """Return the boxes that the model predicts for a slice, in native pixels; None of one that predicts none."""
        if predicted.predicted_boxes is None:
            return None
        every = torch.ones(len(predicted.predicted_boxes), dtype=torch.bool, device=predicted.predicted_boxes.device)
        return self.native_boxes(predicted.predicted_boxes, every)

    def mask_boxes_of(self, labels: UInt[np.ndarray, "h w"]) -> Float[np.ndarray, "k 4"]:
        """Return the box around each class of a native label slice, half-open; nan where it has no pixel."""
        found = ndimage.find_objects(labels, max_label=self._values[-1])
        return np.array(
            [
                (np.nan,) * 4 if place is None else (place[1].start, place[0].start, place[1].stop, place[0].stop)
                for place in (found[value - 1] for value in self._values)
            ],
            np.float32,
        )

    def native_boxes(self, boxes: Float[Tensor, "k 4"], present: Tensor) -> Float[np.ndarray, "k 4"]:
        """Convert boxes (xyxy in [0, 1] of the square) to native pixels, within the slice; nan where not present."""
        rows, columns = self.fit.native
        native = self.fit.boxes_to_native(boxes.float()).clamp(min=0)
        inside = torch.minimum(native, native.new_tensor([columns, rows, columns, rows]))
        return torch.where(present[:, None], inside, torch.nan).cpu().numpy()

    def network_mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[Tensor, "s s"]:
        """Convert a mask in native pixels to the square."""
        return self.fit.labels_to_network(torch.from_numpy(mask[None].astype(np.uint8)), 1)[0].bool().to(self._device)

    def network_boxes(self, boxes: Float[np.ndarray, "k 4"]) -> tuple[Float[Tensor, "k 4"], Tensor]:
        """Convert boxes in native pixels (nan where a class has none) to xyxy in [0, 1] of the square, and presence."""
        native = torch.from_numpy(np.asarray(boxes, np.float32))
        present = ~native.isnan().any(-1)
        square = self.fit.boxes_to_network(native)
        return torch.where(present[:, None], square, 0.0).to(self._device), present.to(self._device)


def with_channels(read: ReadSlices, rows: Sequence[int], depth: int, channels: str) -> Float[Tensor, "n 3 s s"]:
    """Read slices with the three channels that the settings give them; each slice is read once."""
    trios = [channel_slices(t, depth, channels) for t in rows]
    wanted = sorted({t for trio in trios for t in trio})
    place = {t: i for i, t in enumerate(wanted)}
    return read(wanted)[torch.tensor([[place[t] for t in trio] for trio in trios])]


def label_type(labels: Mapping[int, str]) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every label value."""
    return np.uint8 if max(labels) < 256 else np.uint16
