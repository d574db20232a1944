"""A person corrects slices of an automatic result, and the volume follows: the session, its log, undo and redo."""

from sautomed.editing.changes import Change, Comparison, PropagatedSlice
from sautomed.editing.prompts import Prompt
from sautomed.editing.session import Session, edit

__all__ = ["Change", "Comparison", "Prompt", "PropagatedSlice", "Session", "edit"]
