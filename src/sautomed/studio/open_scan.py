"""An open scan as the page sees it: its session, its pixels and the number of its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from sautomed.inference.prompts.runs import mask_of
from sautomed.scans.grid import AXIS_CODES
from sautomed.scans.palette import colour_of, display_name
from sautomed.studio.events import Emit, Event, Stop
from sautomed.studio.grey import grey_scale
from sautomed.studio.refusals import NoSuch
from sautomed.studio.requests import BoxEdit, Edit, FillEdit, MaskEdit, OrganEdit, SliceEdit, WalkRequest
from sautomed.studio.run_lengths import label_runs
from sautomed.studio.session import Box, Change, Mask, Prompt, Session

MAX_SLICES = 64  # ours: of one answer with intensities


class OpenScan:
    """An open scan: its session, its pixels as the page gets them, and the revision of its state.

    Args:
        window: The intensities that are black and white at first.
        revision: Of the state; each change brings a new one.

    Attributes:
        number: The first revision: what tells this scan from others that are opened before or after it.
    """

    def __init__(self, case: str, session: Session, window: tuple[float, float], revision: int):
        self.case, self.session, self.window, self.revision = case, session, window, revision
        self.number = revision
        self.grey = grey_scale(session.volume.array)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        depth, rows, columns = self.session.volume.array.shape
        return depth, rows, columns

    def describe(self) -> dict[str, Any]:
        """Return all that the page needs to show the scan, except its intensities."""
        session, volume = self.session, self.session.volume
        return {
            "kind": "opened",
            "case": self.case,
            "number": self.number,
            "revision": self.revision,
            "shape": self.shape,
            "spacing_mm": volume.spacing_mm,
            "towards": "".join(AXIS_CODES[volume.plane]),
            "grey": {"slope": self.grey.slope, "intercept": self.grey.intercept},
            "window": self.window,
            "warnings": volume.warnings,
            "organs": [
                {"value": value, "name": display_name(name), "colour": colour_of(value)}
                for value, name in sorted(session.organs.items())
            ],
            "labels": [label_runs(session.label_slice(t)) for t in range(self.shape[0])],
            "automatic": [label_runs(session.automatic_slice(t)) for t in range(self.shape[0])],
            "prompts": [self._prompts(t) for t in range(self.shape[0])],
            **self._marks(),
        }

    def changed(self, slices: Iterable[int], kind: str = "changed") -> Event:
        """Return slices as they are now."""
        return {
            "kind": kind,
            "revision": self.revision,
            "slices": {
                t: {"labels": label_runs(self.session.label_slice(t)), "prompts": self._prompts(t)}
                for t in sorted(set(slices))
            },
            **self._marks(),
        }

    def _marks(self) -> dict[str, Any]:
        session = self.session
        return {"locked": sorted(session.locked), "can_undo": session.can_undo, "can_redo": session.can_redo}

    def _prompts(self, t: int) -> dict[int, dict[str, Any]]:
        prompts = self.session.prompts[t]
        return {value: _prompt(prompts[name]) for value, name in self.session.organs.items() if name in prompts}

    def change(self, action: Callable[[], Change], revision: int) -> Event:
        """Do something that changes the scan, and return every slice that is not as it was, or not for the same reason.

        Args:
            revision: Of the state afterwards.
        """
        given, locked = dict(self.session.given), set(self.session.locked)
        slices = set(action().slices)
        now = self.session.given
        slices |= {place[0] for place in given.keys() | now.keys() if given.get(place) != now.get(place)}
        slices |= locked ^ set(self.session.locked)
        self.revision = revision
        return self.changed(slices)

    def apply(self, edit: Edit) -> Change:
        """Carry out an edit; raises NoSuch."""
        self._require_slice(edit.slice)
        session, t = self.session, edit.slice
        if t in session.locked and not isinstance(edit, SliceEdit | FillEdit):
            raise NoSuch(f"slice {t + 1} is locked: release it first")
        if isinstance(edit, SliceEdit):
            return session.lock(t) if edit.kind == "lock" else session.release(t)
        organ = self._organ(edit.organ)
        if isinstance(edit, OrganEdit):
            return session.absent(t, organ) if edit.kind == "absent" else session.forget(t, organ)
        if isinstance(edit, BoxEdit):
            return session.give_box(t, organ, self._box(edit))
        if isinstance(edit, FillEdit):
            self._require_slice(edit.last)
            return session.fill(t, edit.last, organ)
        mask = self._mask(edit)
        return session.paint(t, organ, mask) if edit.kind == "paint" else session.erase(t, organ, mask)

    def walk(self, request: WalkRequest, emit: Emit, stop: Stop, revision: int) -> None:
        """Walk again, and emit the slices as they are done; ends early if `stop` is set. Raises NoSuch.

        Args:
            revision: Of the state from now on.
        """
        self._require_slice(request.slice)
        if request.until is not None:
            self._require_slice(request.until)
        self.revision = revision
        visited = []
        for part in self.session.propagate(request.slice, direction=request.direction, until=request.until):
            visited.append(part.index)
            emit(self.changed([part.index]))
            if stop.is_set:
                break
        emit(self.changed(visited, "walked"))

    def intensities(self, start: int, count: int) -> bytes:
        """Return slices as little-endian 16 bit integers; raises NoSuch."""
        self._require_slice(start)
        if count < 1:
            raise NoSuch("at least one slice must be asked for")
        return self.grey.stored(self.session.volume.array[start : start + min(count, MAX_SLICES)]).tobytes()

    def _require_slice(self, t: int) -> None:
        if not 0 <= t < self.shape[0]:
            raise NoSuch(f"the scan has slices 0 to {self.shape[0] - 1}")

    def _organ(self, value: int) -> str:
        if value not in self.session.organs:
            raise NoSuch("the model has no such organ")
        return self.session.organs[value]

    def _box(self, edit: BoxEdit) -> Box:
        (x0, y0, x1, y1), (_, rows, columns) = edit.box, self.shape
        box = max(x0, 0.0), max(y0, 0.0), min(x1, float(columns)), min(y1, float(rows))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise NoSuch("the box has no area within the slice")
        return box

    def _mask(self, edit: MaskEdit) -> Mask:
        try:
            return mask_of(edit.runs, self.shape[1:])
        except ValueError as error:
            raise NoSuch(str(error)) from error


def _prompt(prompt: Prompt) -> dict[str, Any]:
    return {
        "box": prompt.box,
        "mask_box": prompt.mask_box,
        "source": prompt.source,
        "painted": prompt.is_painted,
        "presence": prompt.presence,
        "confidence": prompt.confidence,
    }
