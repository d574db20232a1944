"""A walk over a scan in its own pixels: see the boxes that prompted a slice, replace them, and go on from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from sautomed.config import Settings
from sautomed.inference.segmenting import SegmentedSlice, segmented_slice
from sautomed.inference.view import NetworkView
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import PredictedSlice, Seen
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS
from sautomed.scans.volume import Volume


class VolumeWalk:
    """A `Walk` over a scan; iterate over it for the slices that are left.

    Args:
        network: In evaluation mode.
        volume: Oriented in the plane that the network was trained in.
        settings: Resolved; nothing in `settings.data` is left on "auto".
        labels: Value in the label map -> organ; class k is the k-th smallest value.
        memory_bytes: For features that are kept, so that going on from a slice does not encode it again.
        spill: Folder of a temporary file for those beyond; None: they are made again when needed.
    """

    def __init__(
        self,
        network: SliceWalker,
        volume: Volume,
        settings: Settings,
        labels: Mapping[int, str],
        memory_bytes: int,
        spill: Path | None = None,
    ):
        self.device = next(network.parameters()).device
        self.view = NetworkView(volume, settings.data, self.device, labels)
        order, chunk = WALKS[settings.segment.walk](self.view.depth), settings.segment.chunk
        self.walk = Walk(network, self.view, order, chunk, memory_bytes, spill=spill)
        self._digests: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[SegmentedSlice]:
        return self._segmented(self.walk)

    def boxes(self, t: int) -> Float[np.ndarray, "k 4"]:
        """Return the boxes that prompt slice t, x0 y0 x1 y1 in native pixels; nan where a class has none.

        Row k is the organ with the k-th smallest label value. The boxes are those of the previous slice's masks.

        Raises:
            ValueError: Slice t is neither visited nor next.
        """
        state = self.walk.state(t)
        return self.view.native_boxes(state.boxes[0], state.present[0])

    def resume(self, t: int, boxes: Float[np.ndarray, "k 4"], tolerance: float = 0.0) -> Iterator[SegmentedSlice]:
        """Predict slice t with other boxes, and the slices behind it as far as anything changes.

        Args:
            t: A visited slice.
            boxes: As `boxes` returns them; parts outside the slice are cut off, and classes whose box was not changed
                keep their state to the last bit.
            tolerance: See `Walk.resume`.
        Raises:
            ValueError: Slice t is not visited yet, or a box is partly nan, has no area or is of no class.
        """
        boxes, state = self._checked(boxes, t), self.walk.state(t)
        same = np.isclose(boxes, self.boxes(t), rtol=0, atol=0, equal_nan=True).all(-1)
        edited = torch.from_numpy(~same).to(state.seen.device)
        square, present = self.view.network_boxes(boxes)
        state = replace(
            state,
            boxes=torch.where(edited[:, None], square, state.boxes),
            seen=torch.where(edited, Seen.of(present), state.seen),
        )
        return self._segmented(self.walk.resume(t, state, tolerance))

    def _checked(self, boxes: Float[np.ndarray, "k 4"], t: int) -> Float[np.ndarray, "k 4"]:
        """Return the boxes cut to the slice; raise ValueError for those that are none."""
        boxes = np.asarray(boxes, np.float32)
        if boxes.shape != self.boxes(t).shape:
            raise ValueError(f"boxes have the shape {boxes.shape}, but must have {self.boxes(t).shape}: one per organ")
        rows, columns = self.view.fit.native
        boxes = boxes.clip(0, np.array([columns, rows, columns, rows], np.float32))
        missing = np.isnan(boxes)
        if (missing.any(-1) & ~missing.all(-1)).any():
            raise ValueError("a box is partly nan: give four numbers, or four nan for an organ that is not there")
        if (~missing.all(-1) & (boxes[:, 2:] <= boxes[:, :2]).any(-1)).any():
            raise ValueError("a box has no area within the slice: boxes are x0 y0 x1 y1 with x0 < x1 and y0 < y1")
        return boxes

    def _segmented(self, slices: Iterable[PredictedSlice]) -> Iterator[SegmentedSlice]:
        for predicted in slices:
            labels, before = self.view.labels_of(predicted), self._digests.get(predicted.index)
            digest = self._digests[predicted.index] = blake2b(labels.tobytes(), digest_size=16).digest()
            yield segmented_slice(self.view, predicted, labels, len(self._digests), digest != before)
