"""A person corrects slices of an automatic result, and the volume follows: the session, its log, undo and redo."""

from sautomed.editing.changes import Change, Comparison, PropagatedSlice
from sautomed.editing.open_session import edit
from sautomed.editing.session import Session

__all__ = ["Change", "Comparison", "PropagatedSlice", "Session", "edit"]
