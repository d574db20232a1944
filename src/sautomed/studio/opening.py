"""A scan and a model become a session, if memory suffices."""

from __future__ import annotations

from pathlib import Path

from sautomed.editing import edit
from sautomed.inference.memory import choose_chunk, trunk_cost
from sautomed.inference.model import Model, with_chunk
from sautomed.scans import read_geometry
from sautomed.studio.session import OnSlice, OpenSession, Session


def session_opener(model: Model) -> OpenSession:
    """Return the function that opens scans with a model."""
    cost = trunk_cost(model.network, int(model.settings.data.image_size))

    def open_session(scan: Path, edits: Path, on_slice: OnSlice) -> Session:
        """Segment a scan and replay its log.

        Raises:
            DataError: The scan cannot be used.
            MemoryShortage: By its header it needs more memory than there is; nothing of it was read.
            UsageError: The model does not go from slice to slice, or another program edits the scan.
        """
        chunk, _ = choose_chunk(read_geometry(scan), model, cost)
        return edit(with_chunk(model, chunk), scan, edits, on_slice)

    return open_session
