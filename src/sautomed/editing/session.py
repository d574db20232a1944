"""A segmented scan whose slices a person corrects.

    session = sautomed.edit(model, "scan.nii.gz")
    session.give_box(14, "liver", (60, 40, 180, 150))     # slice 14 changes at once
    for part in session.propagate(14):                    # then the slices around, one by one
        print(part.index, part.changed)
    session.undo()                                        # they are as before, to the last bit
    session.save("organs.nii.gz")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt

from sautomed.editing.corrected_volume import CorrectedVolume
from sautomed.editing.edits import Absent, Box, Edits, FrozenSlice, Mask
from sautomed.editing.history import History
from sautomed.editing.prompts import Prompt, Prompts
from sautomed.inference.model import Model
from sautomed.inference.segmenting import OnSlice
from sautomed.inference.view import label_type
from sautomed.model.corrections import Corrections
from sautomed.scans.volume import LabelMap, Volume

FEATURE_BYTES = 2**30  # of the walk
CORRECTION_BYTES = 2**28  # of slices near corrections

Direction = Literal["both", "up", "down"]
LabelSlice = UInt[np.ndarray, "h w"]


@dataclass(frozen=True)
class Change:
    """What an edit changed.

    Attributes:
        slices: Whose labels changed, in order.
        voxels: Of each organ, how many it gained or lost.
    """

    slices: tuple[int, ...]
    voxels: dict[str, int]


@dataclass(frozen=True)
class PropagatedSlice:
    """A slice that a correction came to.

    Attributes:
        index: In the oriented volume.
        labels: As they are now.
        changed: Whether they were others before.
    """

    index: int
    labels: LabelSlice
    changed: bool


@dataclass(frozen=True)
class Comparison:
    """How much of an organ is not as in the automatic result.

    Attributes:
        gained: Voxels that it has now and had not.
        lost: Voxels that it had and has not now.
        ml: Volume of both together.
    """

    gained: int
    lost: int
    ml: float

    @property
    def voxels(self) -> int:
        return self.gained + self.lost


class Session:
    """A scan, its automatic result, and what a person gave.

    Slices are counted in the oriented volume, boxes are x0 y0 x1 y1 in native pixels, half-open. An edit changes its own
    slice at once; the slices around change by `propagate`. Not for several threads at a time.

    Args:
        model: Of a system that goes from slice to slice.
        volume: From `model.read`.
        on_slice: Called after each slice of the automatic walk with the slices done and their number.
    Raises:
        UsageError: The model does not go from slice to slice.
    """

    def __init__(self, model: Model, volume: Volume, on_slice: OnSlice | None = None):
        self.model, self.volume = model, volume
        self._values = sorted(model.labels)
        self._classes = {model.labels[value]: k for k, value in enumerate(self._values)}
        walk = model.walk(volume, FEATURE_BYTES)
        self._corrected = CorrectedVolume(walk, len(self._values), CORRECTION_BYTES)
        automatic: dict[int, LabelSlice] = {}
        self._boxes = {}
        for part in self._corrected:
            automatic[part.index], self._boxes[part.index] = _read_only(part.labels), part.boxes
            if on_slice:
                on_slice(part.done, part.total)
        self.automatic = tuple(automatic[t] for t in range(self.depth))
        self._shown = dict(automatic)
        self._history = History()

    # --- what there is ---

    @property
    def depth(self) -> int:
        """Number of slices."""
        return len(self.volume.array)

    @property
    def organs(self) -> dict[int, str]:
        """Value in the label map -> organ."""
        return dict(self.model.labels)

    @property
    def labels(self) -> LabelMap:
        """The label map as it is now, on the scan's own grid."""
        array = np.stack([self._shown[t] for t in range(self.depth)]).astype(label_type(self.organs), copy=False)
        return LabelMap(array, self.volume.affine, self.volume.native, self.volume.plane, self.organs)

    def label_slice(self, t: int) -> LabelSlice:
        """Return the label values of slice t as they are now, read-only."""
        return self._shown[self._slice(t)]

    @property
    def prompts(self) -> Prompts:
        """What prompted each slice, automatic or given: `session.prompts[14]["liver"].box`."""
        return Prompts(self.depth, self._prompt_of, tuple(self._classes))

    @property
    def locked(self) -> tuple[int, ...]:
        """Slices that are locked."""
        return tuple(sorted(self._edits.locked))

    # --- edits ---

    def give_box(self, t: int, organ: str, box: tuple[float, float, float, float]) -> Change:
        """Say that an organ of slice t is within a box; the part outside the slice is cut off.

        Raises:
            ValueError: There is no such slice or organ, or the box has no area within the slice.
            UsageError: The slice is locked.
        """
        rows, columns = self.volume.array.shape[1:]
        x0, y0, x1, y1 = (min(max(float(place), 0.0), float(end)) for place, end in zip(box, (columns, rows) * 2, strict=True))
        if not (x0 < x1 and y0 < y1):
            raise ValueError("a box has no area within the slice: it is x0 y0 x1 y1 with x0 < x1 and y0 < y1")
        return self._give(t, organ, Box(box=(x0, y0, x1, y1)))

    def absent(self, t: int, organ: str) -> Change:
        """Say that an organ is not on slice t; raises as `give_box`."""
        return self._give(t, organ, Absent())

    def paint(self, t: int, organ: str, mask: Bool[np.ndarray, "h w"]) -> Change:
        """Add pixels to an organ on slice t; its whole mask there is then given. Raises as `give_box`."""
        return self._give(t, organ, Mask.of(self._organ(t, organ) | self._mask(mask)))

    def erase(self, t: int, organ: str, mask: Bool[np.ndarray, "h w"]) -> Change:
        """Take pixels from an organ on slice t; its whole mask there is then given. Raises as `give_box`."""
        return self._give(t, organ, Mask.of(self._organ(t, organ) & ~self._mask(mask)))

    def forget(self, t: int, organ: str) -> Change:
        """Take back what is given for an organ on slice t, wherever it has come to; raises as `give_box`."""
        return self._do(self._edits.forget(self._unlocked(t), self._class(organ)))

    def lock(self, t: int) -> Change:
        """Keep slice t as it is now, whatever is given around it."""
        return self._do(self._edits.lock(t, FrozenSlice.of(self.label_slice(t))))

    def release(self, t: int) -> Change:
        """Undo a lock: slice t follows from what is given again."""
        return self._do(self._edits.release(self._slice(t)))

    def propagate(self, t: int, direction: Direction = "both", until: int | None = None) -> Iterator[PropagatedSlice]:
        """Let what is given on slice t travel outward, slice by slice; one undo takes it back.

        It ends where nothing of it arrives any more, at locked slices and, organ by organ, at slices for which
        something is given for that organ; slices for which something is given for other organs stay as they are, and
        it passes them. An iteration may be broken off, and ends when the session is edited meanwhile: what it has come
        to by then stays.

        Args:
            direction: "up" goes to larger indices.
            until: The last slice on its side of t.
        """
        ways = {"both": (1, -1), "up": (1,), "down": (-1,)}[direction]
        travelling = {way: tuple(self._edits.corrections.at(self._slice(t))) for way in ways}
        first = True
        left = self._edits
        for distance in range(1, self.depth):
            for way in ways:
                to = t + way * distance
                if self._edits is not left:
                    return
                travelling[way] = self._going_on(t, travelling[way], to, until)
                if not travelling[way] or self._edits.corrections.at(to):
                    continue
                before = self._shown[to]
                left = self._edits.travel(t, travelling[way], to)
                self._do(left, amend=not first)
                first = False
                yield PropagatedSlice(to, self._shown[to], not np.array_equal(before, self._shown[to]))

    def undo(self) -> Change:
        """Go back to before the last edit; nothing happens if there is none."""
        return self._show(self._history.undo())

    def redo(self) -> Change:
        """Take back an undo; nothing happens if there was none, or something was edited since."""
        return self._show(self._history.redo())

    # --- results ---

    def compare(self) -> dict[str, Comparison]:
        """Return by organ what is not as in the automatic result."""
        voxel_ml = float(np.prod(self.volume.spacing_mm)) / 1000
        found = {}
        for organ, k in self._classes.items():
            value = self._values[k]
            pairs = [(was == value, now == value) for was, now in self._changed_slices()]
            gained, lost = (sum(int(np.count_nonzero(a & ~b)) for a, b in way) for way in (((n, w) for w, n in pairs), pairs))
            found[organ] = Comparison(gained, lost, (gained + lost) * voxel_ml)
        return found

    def save(self, path: str | Path) -> None:
        """Write the label map as it is now; see `LabelMap.save`."""
        self.labels.save(path)

    def close(self) -> None:
        """End the session."""

    # --- inside ---

    @property
    def _edits(self) -> Edits:
        return self._history.now

    def _give(self, t: int, organ: str, given: Box | Absent | Mask) -> Change:
        return self._do(self._edits.give(self._unlocked(t), self._class(organ), given))

    def _do(self, edits: Edits, amend: bool = False) -> Change:
        before = self._edits
        self._history.do(edits, amend)
        return self._show(before)

    def _show(self, before: Edits) -> Change:
        """Bring up to date what is shown, from that of earlier edits."""
        now, slices, voxels = self._edits, [], dict.fromkeys(self._classes, 0)
        for t in range(self.depth):
            if before.inputs(t) == now.inputs(t):
                continue
            was, labels = self._shown[t], self._labels(t)
            if np.array_equal(was, labels):
                continue
            self._shown[t] = labels
            slices.append(t)
            for organ, k in self._classes.items():
                voxels[organ] += int(np.count_nonzero((was == self._values[k]) != (labels == self._values[k])))
        return Change(tuple(slices), voxels)

    def _labels(self, t: int) -> LabelSlice:
        if self._edits.inputs(t) == Edits().inputs(t):
            return self.automatic[t]
        return _read_only(self._corrected.labels(t, self._edits))

    def _going_on(self, t: int, classes: tuple[int, ...], to: int, until: int | None) -> tuple[int, ...]:
        """Return the classes of slice t that go on as far as another slice."""
        beyond = until is not None and (to > until >= t or to < until <= t)
        if beyond or not 0 <= to < self.depth or to in self._edits.locked:
            return ()
        corrections: Corrections = self._edits.corrections
        return tuple(
            k
            for k in classes
            if (to, k) not in corrections.given and self._corrected.travels(corrections.given[t, k], to)
        )

    def _prompt_of(self, t: int, organ: str) -> Prompt:
        k = self._class(organ)
        correction, boxes = self._edits.corrections.at(self._slice(t)).get(k), self._boxes[t]
        automatic = None if boxes is None or np.isnan(boxes[k]).any() else tuple(float(x) for x in boxes[k])
        return Prompt.of(None if correction is None else correction.given, automatic, self._organ(t, organ))

    def _changed_slices(self) -> list[tuple[LabelSlice, LabelSlice]]:
        pairs = ((self.automatic[t], self._shown[t]) for t in range(self.depth))
        return [(was, now) for was, now in pairs if was is not now]

    def _organ(self, t: int, organ: str) -> Bool[np.ndarray, "h w"]:
        return self.label_slice(t) == self._values[self._class(organ)]

    def _class(self, organ: str) -> int:
        if organ not in self._classes:
            raise ValueError(f"no organ {organ!r}; there are {', '.join(self._classes)}")
        return self._classes[organ]

    def _slice(self, t: int) -> int:
        if not 0 <= t < self.depth:
            raise ValueError(f"no slice {t}: there are {self.depth}, counted from 0")
        return t

    def _unlocked(self, t: int) -> int:
        if self._slice(t) in self._edits.locked:
            raise ValueError(f"slice {t} is locked: release it first")
        return t

    def _mask(self, mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != self.volume.array.shape[1:]:
            raise ValueError(f"a mask has type bool and the shape of a slice, {self.volume.array.shape[1:]}")
        return mask


def edit(
    model: Model | str | Path, scan: str | Path | Volume, folder: str | Path | None = None, on_slice: OnSlice | None = None
) -> Session:
    """Segment a scan and return a session that corrects the result.

    Args:
        model: A model, or the folder of one.
        scan: A file or folder, or a volume from `model.read`.
        folder: Where the log of the session lies, or will lie; None: nothing is logged.
        on_slice: Called after each slice of the automatic walk with the slices done and their number.
    Raises:
        DataError: The scan cannot be used.
        ModelError: There is no model, or it cannot be used.
        UsageError: The model does not go from slice to slice.
    """
    from sautomed.inference.model import load

    loaded = model if isinstance(model, Model) else load(model)
    return Session(loaded, scan if isinstance(scan, Volume) else loaded.read(scan), on_slice)


def _read_only(labels: LabelSlice) -> LabelSlice:
    labels = labels.copy()
    labels.setflags(write=False)
    return labels
