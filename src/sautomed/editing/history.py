"""Undo and redo: frozen values of edits in a row, and a place in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sautomed.editing.edits import Edits


@dataclass(frozen=True)
class History:
    """All edits that undo and redo can reach; begins with none. The methods return others.

    Attributes:
        values: The earliest first.
        place: Of those in force.
    """

    values: tuple[Edits, ...] = (Edits(),)
    place: int = 0

    @property
    def now(self) -> Edits:
        """The edits in force."""
        return self.values[self.place]

    def do(self, edits: Edits, amend: bool = False) -> History:
        """Go on from here; what was undone is gone. Edits that are in force already are no step.

        Args:
            amend: The edits take the place of those in force: one undo takes back both.
        """
        if edits == self.now:
            return self
        kept = self.values[: self.place + (0 if amend and self.place else 1)]
        return History((*kept, edits), len(kept))

    def undo(self) -> History:
        """Go one edit back, if there is one."""
        return replace(self, place=max(self.place - 1, 0))

    def redo(self) -> History:
        """Go one edit forward, if one was undone."""
        return replace(self, place=min(self.place + 1, len(self.values) - 1))
