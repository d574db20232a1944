"""A person corrects slices of an automatic result, and the volume follows: the session, its log, undo and redo."""

from sautomed.editing.session import Change, Comparison, PropagatedSlice, Session, edit

__all__ = ["Change", "Comparison", "PropagatedSlice", "Session", "edit"]
