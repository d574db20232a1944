"""The slices of a scan on its own grid as edits leave them: exactly what was given, to the native pixel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt
from torch import Tensor

from sautomed.editing.edits import Edits
from sautomed.inference.prompts.document import GivenBox, GivenMask
from sautomed.inference.segmenting import SegmentedSlice
from sautomed.inference.volume_walk import VolumeWalk
from sautomed.model.boxes import inside_boxes
from sautomed.model.corrections import CorrectedWalk, Correction
from sautomed.model.given import GivenPrompts


class CorrectedVolume:
    """A walk over a scan, and its slices with corrections. Iterate over it for the automatic result.

    Args:
        walk: Over the scan; it keeps features.
        classes: Organs of the model.
        memory_bytes: For slices near corrections.
    """

    def __init__(self, walk: VolumeWalk, classes: int, memory_bytes: int):
        self.walk, self.view, self.classes = walk, walk.view, classes
        self.corrected = CorrectedWalk(walk.walk, self._prompts_of, memory_bytes)

    def __iter__(self) -> Iterator[SegmentedSlice]:
        return iter(self.walk)

    @torch.inference_mode()
    def labels(self, t: int, edits: Edits) -> UInt[np.ndarray, "h w"]:
        """Return the label values of slice t."""
        if t in edits.locked:
            return edits.locked[t].labels
        logits = self.corrected.slice(t, edits.corrections).resampled(self.view.fit.to_native)
        for k, correction in edits.corrections.at(t).items():
            allowed, certain = _native_limits(correction.given, self.view.fit.native)
            logits[k + 1].masked_fill_(~torch.from_numpy(allowed).to(logits.device), -torch.inf)
            logits[k + 1].masked_fill_(torch.from_numpy(certain).to(logits.device), torch.inf)
        return self.view.labels_of_native(logits)

    def travels(self, correction: Correction, to: int) -> bool:
        """Return whether anything of a correction comes as far as another slice."""
        return self.corrected.travels(correction, to)

    def _prompts_of(self, correction: Correction) -> GivenPrompts:
        given, k, side = correction.given, correction.k, self.view.fit.size
        nothing = GivenPrompts.nothing(self.classes, (side, side), self.walk.device)
        if isinstance(given, GivenMask):
            return nothing.mask(k, self.view.network_mask(given.pixels(self.view.fit.native)))
        if isinstance(given, GivenBox):
            return nothing.here(k, self._network_box(given))
        return nothing.not_here(k)

    def _network_box(self, given: GivenBox) -> Float[Tensor, " 4"]:
        return self.view.network_boxes(np.array([given.box], np.float32))[0][0]


def _native_limits(given: object, shape: tuple[int, int]) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Return where an organ may be, and where it certainly is."""
    nowhere = np.zeros(shape, bool)
    if isinstance(given, GivenMask):
        mask = given.pixels(shape)
        return mask, mask
    if isinstance(given, GivenBox):
        return inside_boxes(torch.tensor(given.box, dtype=torch.float64), *shape).numpy(), nowhere
    return nowhere, nowhere  # absent
