"""Trunk features along a walk: each slice passes the trunk once, in chunks, and memory is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.model.feature_file import FeatureFile
from sautomed.model.values import Features, SliceReader
from sautomed.model.walk_order import Step, neighbours


@runtime_checkable
class Encoder(Protocol):
    """A model with a trunk."""

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features: ...


class FeatureStore:
    """Features of single slices, encoded in the order in which a walk first needs them.

    Features that no later step needs stay as long as all together take no more than the budget; the least recently used
    go first: into a file, if there is a folder for it. Those that are needed once more come from there, or are encoded
    in the chunk that they were encoded in at first, so that every number is the same.

    Args:
        order: Steps of the walk.
        chunk: Slices that pass the trunk together.
        budget_bytes: For features that later steps do not need.
        spill: Folder of a temporary file for those that are beyond the budget; None: they are dropped.
    """

    def __init__(
        self,
        model: Encoder,
        volume: SliceReader,
        order: Sequence[Step],
        chunk: int,
        budget_bytes: int = 0,
        spill: Path | None = None,
    ):
        self.model, self.volume, self.budget_bytes = model, volume, budget_bytes
        self._file, self._device = None if spill is None else FeatureFile(spill), torch.device("cpu")
        self.kept: dict[int, Features] = {}  # the most recently used last
        self._last_use: dict[int, int] = {}
        for number, step in enumerate(order):
            for t in step.slices:
                self._last_use |= dict.fromkeys(neighbours(t, volume.depth), number)
        queue = list(self._last_use)  # a dict keeps the order in which its keys first came: the order of first use
        self._chunks = [queue[i : i + chunk] for i in range(0, len(queue), chunk)]
        self._chunk_of = {t: rows for rows in self._chunks for t in rows}

    @property
    def nbytes(self) -> int:
        """Memory of all features that are kept."""
        return sum(f.nbytes for f in self.kept.values())

    def of(self, slices: Sequence[int]) -> Features:
        """Return the features of these slices, encoding those that are missing."""
        for t in slices:
            if t not in self.kept:
                self._fetch(t)
            self.kept[t] = self.kept.pop(t)
        return Features.cat([self.kept[t] for t in slices])

    def release(self, number: int) -> None:
        """Drop what the steps from this number on do not need, as far as the budget asks for it."""
        held = self.nbytes if self.budget_bytes else 0
        for t in [t for t in self.kept if self._last_use[t] < number]:
            if self.budget_bytes and held <= self.budget_bytes:
                return
            dropped = self.kept.pop(t)
            held -= dropped.nbytes
            if self._file is not None and t not in self._file:
                self._file.put(t, dropped)

    def _fetch(self, t: int) -> None:
        if self._file is not None and t in self._file:
            self.kept[t] = self._file.get(t, self._device)
        else:
            self._encode(self._chunk_of[t])

    @torch.inference_mode()
    def _encode(self, rows: list[int]) -> None:
        features = self.model.encode(self.volume.images(rows))
        self._device = features.coarse.device
        self.kept |= {t: features.row(i) for i, t in enumerate(rows) if t not in self.kept}
