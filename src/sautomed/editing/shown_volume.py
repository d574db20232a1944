"""The slices of a scan as they are shown: the automatic result, and what edits make of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt

from sautomed.editing.corrected_volume import CorrectedVolume
from sautomed.editing.edits import Edits
from sautomed.inference.segmenting import OnSlice, SegmentedSlice
from sautomed.model.corrections import Correction


class ShownVolume:
    """All slices, segmented when it is made and shown without edits at first.

    Args:
        corrected: Not walked over yet.
        on_slice: Called after each slice with the slices done and their number.
    Attributes:
        automatic: Each slice before any edit.
        labels: Label values of each slice as it is shown, read-only.
    """

    def __init__(self, corrected: CorrectedVolume, on_slice: OnSlice | None):
        self._corrected, self._edits = corrected, Edits()
        self.automatic: dict[int, SegmentedSlice] = {}
        for part in corrected:
            part.labels.setflags(write=False)
            self.automatic[part.index] = part
            if on_slice:
                on_slice(part.done, part.total)
        self.labels = {t: part.labels for t, part in self.automatic.items()}

    def changed_by(self, edits: Edits) -> dict[int, UInt[np.ndarray, "h w"]]:
        """Return the slices that these edits would show otherwise than they are shown."""
        others = (t for t in self.labels if edits.inputs(t) != self._edits.inputs(t))
        labels = {t: self._labels_with(t, edits) for t in others}
        return {t: found for t, found in labels.items() if not np.array_equal(found, self.labels[t])}

    def show(self, edits: Edits, labels: dict[int, UInt[np.ndarray, "h w"]]) -> None:
        """Show what edits make of the result.

        Args:
            labels: From `changed_by` with these edits.
        """
        self._edits = edits
        self.labels |= labels

    def travels(self, correction: Correction, to: int) -> bool:
        """Return whether anything of a correction comes as far as another slice."""
        return self._corrected.travels(correction, to)

    def _labels_with(self, t: int, edits: Edits) -> UInt[np.ndarray, "h w"]:
        if edits.inputs(t) == Edits().inputs(t):
            return self.automatic[t].labels
        labels = self._corrected.labels(t, edits)
        labels.setflags(write=False)
        return labels
