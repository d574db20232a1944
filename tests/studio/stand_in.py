"""A session without a network: organs are thresholds, and a correction travels by being copied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sautomed.scans import read_scan
from sautomed.scans.volume import LabelMap


@dataclass(frozen=True)
class StandInPrompt:
    box: tuple[float, float, float, float] | None
    source: str
    is_painted: bool
    presence: float
    mask_box: tuple[float, float, float, float] | None
    confidence: float | None = None


@dataclass(frozen=True)
class StandInChange:
    slices: tuple[int, ...]


@dataclass(frozen=True)
class StandInPart:
    index: int
    changed: bool


@dataclass(frozen=True, eq=False)
class State:
    """Everything that undo goes back to."""

    labels: np.ndarray
    given: dict[tuple[int, str], tuple[float, float, float, float] | None]
    locked: frozenset[int]


class StandInSession:
    """See `sautomed.studio.session.Session`."""

    def __init__(self, path: Path, edits: Path, on_slice, organs=None):
        self.volume = read_scan(path)
        self.organs = organs or {1: "bright", 5: "dark"}
        bright, dark = list(self.organs)[:2]
        array = self.volume.array
        high, low = np.percentile(array, [92, 8])
        found = np.where(array > high, bright, np.where(array < low, dark, 0)).astype(np.uint8)
        self.automatic = tuple(found)
        for t in range(len(array)):
            on_slice(t + 1, len(array))
        self.state, self.past, self.future = State(found, {}, frozenset()), [], []
        self.closed = False

    given = property(lambda self: self.state.given)
    locked = property(lambda self: sorted(self.state.locked))
    can_undo = property(lambda self: bool(self.past))
    can_redo = property(lambda self: bool(self.future))
    prompts = property(lambda self: {t: self._prompts(t) for t in range(len(self.volume.array))})

    def _prompts(self, t):
        return {name: self._prompt(t, value, name) for value, name in self.organs.items()}

    def _prompt(self, t, value, name):
        rows, columns = np.nonzero(self.state.labels[t] == value)
        box = (
            tuple(float(x) for x in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            if rows.size else None
        )  # fmt: skip
        given = (t, name) in self.state.given
        presence = 0.97 if box and t % 3 else 0.62 if box else 0.05
        painted = given and self.state.given[t, name] is None and box is not None
        return StandInPrompt(self.state.given.get((t, name), box), "given" if given else "auto", painted, presence, box)

    def automatic_slice(self, t):
        return self.automatic[t]

    def label_slice(self, t):
        return self.state.labels[t]

    def give_box(self, t, organ, box):
        x0, y0, x1, y1 = (round(x) for x in box)
        inside = np.zeros(self.state.labels[t].shape, bool)
        rows, columns = np.ogrid[: inside.shape[0], : inside.shape[1]]
        middle, radius = ((y0 + y1) / 2, (x0 + x1) / 2), ((y1 - y0) / 2, (x1 - x0) / 2)
        inside = ((rows + 0.5 - middle[0]) / radius[0]) ** 2 + ((columns + 0.5 - middle[1]) / radius[1]) ** 2 <= 1
        return self._edit(t, organ, inside, box)

    def absent(self, t, organ):
        return self._edit(t, organ, np.zeros(self.state.labels[t].shape, bool), None)

    def paint(self, t, organ, mask):
        return self._edit(t, organ, (self.state.labels[t] == self._value(organ)) | mask, None)

    def erase(self, t, organ, mask):
        return self._edit(t, organ, (self.state.labels[t] == self._value(organ)) & ~mask, None)

    def fill(self, first, last, organ):
        between = [t for t in range(first + 1, last) if t not in self.locked and (t, organ) not in self.given]
        labels, value = self.state.labels.copy(), self._value(organ)
        for t in between:
            labels[t][labels[t] == value] = 0
            labels[t][labels[first] == value] = value
        given = self.state.given | {(t, organ): None for t in between}
        return self._become(State(labels, given, self.state.locked), tuple(between))

    def forget(self, t, organ):
        value = self._value(organ)
        given = {key: box for key, box in self.state.given.items() if key != (t, organ)}
        return self._become(State(self._with(t, value, self.automatic[t] == value), given, self.state.locked), (t,))

    def lock(self, t):
        return self._become(replace(self.state, locked=self.state.locked | {t}), (t,))

    def release(self, t):
        return self._become(replace(self.state, locked=self.state.locked - {t}), (t,))

    def propagate(self, t, direction="both", until=None):
        ways = {"both": (1, -1), "up": (1,), "down": (-1,)}[direction]
        before, organs = self.state, [name for slice_, name in self.state.given if slice_ == t]
        changed = []
        try:
            for way in ways:
                u = t + way
                while self._goes_on(u, until, way):
                    labels = self.state.labels
                    for organ in organs:
                        value = self._value(organ)
                        labels = State(self._with(u, value, labels[t] == value), {}, frozenset()).labels
                        self.state = replace(self.state, labels=labels)
                    changed.append(u)
                    yield StandInPart(u, True)
                    u += way
        finally:
            if changed:
                self.past, self.future = [*self.past, before], []

    def _goes_on(self, u, until, way):
        within = until is None or (until - u) * way >= 0
        return 0 <= u < len(self.volume.array) and u not in self.state.locked and within

    def undo(self):
        self.future.append(self.state)
        return self._show(self.past.pop())

    def redo(self):
        self.past.append(self.state)
        return self._show(self.future.pop())

    def save(self, path):
        volume = self.volume
        LabelMap(self.state.labels, volume.affine, volume.native, volume.plane, dict(self.organs)).save(path)

    def save_prompts(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")

    def close(self):
        self.closed = True

    def _value(self, organ):
        return next(value for value, name in self.organs.items() if name == organ)

    def _edit(self, t, organ, mask, box):
        labels = self._with(t, self._value(organ), mask)
        return self._become(State(labels, self.state.given | {(t, organ): box}, self.state.locked), (t,))

    def _with(self, t, value, mask):
        labels = self.state.labels.copy()
        labels[t][labels[t] == value] = 0
        labels[t][mask] = value
        return labels

    def _become(self, state, slices):
        self.past, self.future = [*self.past, self.state], []
        self.state = state
        return StandInChange(slices)

    def _show(self, state):
        before, self.state = self.state, state
        differs = (before.labels != state.labels).any((1, 2))
        given = {t for t, _ in before.given.keys() ^ state.given.keys()} | (before.locked ^ state.locked)
        return StandInChange(tuple(sorted({*np.flatnonzero(differs).tolist(), *given})))
