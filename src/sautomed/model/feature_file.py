"""Features of slices in a temporary file, for volumes whose features do not fit into memory.

The file has no name where the system allows it, so that it is gone with the process, however that ends.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

import torch
from torch import Tensor

from sautomed.model.values import Features


class FeatureFile:
    """Keeps features until they are asked for; each slice once.

    Args:
        folder: For the temporary file; None: the system's.
    """

    def __init__(self, folder: Path | None):
        self._stream = TemporaryFile(dir=folder)  # noqa: SIM115  (closed with this object)
        self._places: dict[int, list[tuple[int, Tensor]]] = {}  # offset, and a map without numbers that has its form

    def __contains__(self, t: int) -> bool:
        return t in self._places

    def put(self, t: int, features: Features) -> None:
        """Keep the features of a slice."""
        places = []
        for found in (features.coarse, *features.fine):
            offset = self._stream.seek(0, 2)
            self._stream.write(found.contiguous().view(torch.uint8).cpu().numpy().data)
            places.append((offset, found.to("meta")))
        self._stream.flush()
        self._places[t] = places

    def get(self, t: int, device: torch.device) -> Features:
        """Return the features of a slice as they were, to the last bit."""
        coarse, *fine = (self._read(offset, form).to(device) for offset, form in self._places[t])
        return Features(coarse, tuple(fine))

    def _read(self, offset: int, form: Tensor) -> Tensor:
        stored = torch.empty(form.shape, dtype=form.dtype)  # as it was written, whatever the layout in memory
        self._stream.seek(offset)
        self._stream.readinto(stored.view(torch.uint8).numpy().data)
        return torch.empty_like(form, device="cpu").copy_(stored)
