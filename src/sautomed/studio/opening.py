"""A scan and a model become a session, if memory suffices."""

from __future__ import annotations

from pathlib import Path

from sautomed.editing import edit
from sautomed.inference.model import Model
from sautomed.studio.session import OnSlice, OpenSession, Session


def session_opener(model: Model) -> OpenSession:
    """Return the function that opens scans with a model; it raises as `edit`."""

    def open_session(scan: Path, edits: Path, on_slice: OnSlice) -> Session:
        return edit(model, scan, edits, on_slice)

    return open_session
