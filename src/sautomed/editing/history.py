"""Undo and redo: frozen values of edits in a row, and a place in it."""

from __future__ import annotations

from sautomed.editing.edits import Edits


class History:
    """All edits that undo and redo can reach; begins with none."""

    def __init__(self) -> None:
        self._values, self._place = [Edits()], 0

    @property
    def now(self) -> Edits:
        """The edits in force."""
        return self._values[self._place]

    def do(self, edits: Edits, amend: bool = False) -> None:
        """Go on from here; what was undone is gone.

        Args:
            amend: The edits belong to the last ones: one undo takes back both.
        """
        del self._values[self._place + (0 if amend else 1) :]
        self._values.append(edits)
        self._place = len(self._values) - 1

    def undo(self) -> Edits:
        """Go one edit back, if there is one; returns the edits that were in force."""
        before = self.now
        self._place = max(self._place - 1, 0)
        return before

    def redo(self) -> Edits:
        """Go one edit forward, if one was undone; returns the edits that were in force."""
        before = self.now
        self._place = min(self._place + 1, len(self._values) - 1)
        return before
