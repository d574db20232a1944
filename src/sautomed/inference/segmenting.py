"""A volume through any model: slices stream in, label slices on the native grid stream out. Knows no files."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt

from sautomed.config import Settings
from sautomed.inference.confidence.signals import slice_signals
from sautomed.inference.confidence.values import SliceSignals
from sautomed.inference.view import NetworkView, label_type
from sautomed.model.segmenter import Segmenter
from sautomed.model.values import PredictedSlice
from sautomed.scans.volume import LabelMap, Volume

OnSlice = Callable[[int, int], None]  # slices done, slices in all


@dataclass(frozen=True)
class SegmentedSlice:
    """One finished slice.

    Attributes:
        index: In the oriented volume.
        done: Slices that are finished.
        total: Slices of the volume.
        labels: Label values on the native grid.
        boxes: Box of each class that prompted the slice, x0 y0 x1 y1 in native pixels, nan where it had none; None for
            systems without boxes.
        changed: Whether the labels differ from those of an earlier visit; True on the first.
        presence: Probability, by the model, that each class is in the slice; None for systems without box prompts of
            their own.
        mask_boxes: Box around each class in `labels`, as `boxes`, half-open; nan where it has no pixel.
        signals: What the prediction says of how sure it is.
    """

    index: int
    done: int
    total: int
    labels: UInt[np.ndarray, "h w"]
    boxes: Float[np.ndarray, "k 4"] | None = None
    changed: bool = True
    presence: Float[np.ndarray, " k"] | None = None
    mask_boxes: Float[np.ndarray, "k 4"] | None = None
    signals: SliceSignals | None = None


OnPart = Callable[[SegmentedSlice], None]


def segment_slices(
    network: Segmenter, volume: Volume, settings: Settings, labels: Mapping[int, str], truth: LabelMap | None = None
) -> Iterator[SegmentedSlice]:
    """Yield each slice of an oriented volume as soon as it is done, in the model's own order.

    Args:
        settings: Resolved; nothing in `settings.data` is left on "auto".
        labels: Value in the label map -> organ; class k is the k-th smallest value.
        truth: On the volume's grid; only for systems that are prompted from it.
    Raises:
        PromptsNeeded: Such a system, and no truth.
    """
    view = NetworkView(volume, settings.data, next(network.parameters()).device, labels, truth)
    for done, predicted in enumerate(network.predict(view, settings.segment), start=1):
        yield segmented_slice(view, predicted, view.labels_of(predicted), done)


def segmented_slice(
    view: NetworkView, predicted: PredictedSlice, labels: UInt[np.ndarray, "h w"], done: int, changed: bool = True
) -> SegmentedSlice:
    """Return a prediction as a finished slice with these label values."""
    boxes, mask_boxes = view.boxes_of(predicted), view.mask_boxes_of(labels)
    return SegmentedSlice(
        predicted.index,
        done,
        view.depth,
        labels,
        boxes,
        changed,
        None if predicted.presence is None else predicted.presence.float().sigmoid().cpu().numpy(),
        mask_boxes,
        slice_signals(predicted.logits, mask_boxes, boxes, view.predicted_boxes_of(predicted), view.fit.spacing_mm),
    )


def label_map_of(
    parts: Iterable[SegmentedSlice], volume: Volume, labels: Mapping[int, str], on_part: OnPart | None = None
) -> LabelMap:
    """Return the label map of a volume's slices; a slice that comes again replaces the earlier one.

    Args:
        labels: Value in the label map -> organ.
        on_part: Called after each slice.
    """
    whole = np.zeros(volume.array.shape, label_type(labels))
    for part in parts:
        whole[part.index] = part.labels
        if on_part:
            on_part(part)
    return LabelMap(whole, volume.affine, volume.native, volume.plane, dict(labels))


def segment_volume(
    network: Segmenter,
    volume: Volume,
    settings: Settings,
    labels: Mapping[int, str],
    on_slice: OnSlice | None = None,
    truth: LabelMap | None = None,
) -> LabelMap:
    """Return the label map of a whole volume; arguments and errors as `segment_slices`."""
    parts = segment_slices(network, volume, settings, labels, truth)
    return label_map_of(parts, volume, labels, reporting(on_slice))


def reporting(on_slice: OnSlice | None) -> OnPart:
    """Return a callback that tells another one how many slices are done."""

    def report(part: SegmentedSlice) -> None:
        if on_slice:
            on_slice(part.done, part.total)

    return report
