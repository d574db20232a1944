"""A segmented scan whose slices a person corrects.

session = sautomed.edit(model, "scan.nii.gz")
session.give_box(14, "liver", (60, 40, 180, 150))     # slice 14 changes at once
for part in session.propagate(14):                    # then the slices around, one by one
    print(part.index, part.changed)
session.undo()                                        # they are as before, to the last bit
session.save("organs.nii.gz")
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt

from sautomed.editing.arguments import Arguments
from sautomed.editing.changes import Change, Comparison, PropagatedSlice, compare_slices
from sautomed.editing.edited_volume import EditedVolume
from sautomed.editing.edits import Edits, FrozenSlice, given_of
from sautomed.editing.fill import filled_masks
from sautomed.editing.lines import Fill, Forget, Give, Lock, Redo, Release, Travel, Undo
from sautomed.editing.prompts import Prompts, automatic_prompts, session_document
from sautomed.errors import UsageError
from sautomed.inference.model import Model
from sautomed.inference.prompts.document import Given, GivenAbsence, GivenMask, OrganPrompt, SlicePrompts
from sautomed.inference.prompts.file import write_prompts
from sautomed.inference.segmenting import OnSlice
from sautomed.scans import ReadOptions
from sautomed.scans.read import DEFAULT_OPTIONS
from sautomed.scans.volume import LabelMap, Volume

Direction = Literal["both", "up", "down"]
WAYS = {"both": (1, -1), "up": (1,), "down": (-1,)}


class Session:
    """A scan, its automatic result, and what a person gave; made by `edit`.

    Slices are counted in the oriented volume, boxes are x0 y0 x1 y1 in native pixels, half-open. An edit changes its
    own slice at once; the slices around change by `propagate`. Whatever is edited of an organ, the others change only
    where it came or went. For one thread at a time.

    Args:
        model: Of a system that goes from slice to slice.
        volume: From `model.read`.
        folder: Of the log; edits that it holds are made again. None: nothing is logged. A warning, also in the volume's
            `warnings`, says if they were made on a result of another engine or precision.
        on_slice: Called after each slice of the automatic walk with the slices done and their number.
        options: How the volume was read.
    """

    def __init__(
        self,
        model: Model,
        volume: Volume,
        folder: Path | None = None,
        on_slice: OnSlice | None = None,
        options: ReadOptions = DEFAULT_OPTIONS,
    ):
        self._edited = EditedVolume(model, volume, folder, on_slice)
        self.model, self.volume, self._options = model, self._edited.volume, options
        self._names, self._shown = self._edited.names, self._edited.shown
        self._valid = Arguments(volume.array.shape, self._names)

    def close(self) -> None:
        """End the session; its log may be opened by another one."""
        self._edited.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what there is ---

    @property
    def depth(self) -> int:
        """Number of slices."""
        return len(self.volume.array)

    @property
    def organs(self) -> dict[int, str]:
        """Value in the label map -> organ."""
        return self.model.labels

    @property
    def labels(self) -> LabelMap:
        """The label map as it is now, on the scan's own grid."""
        array = np.stack([self._shown.labels[t] for t in range(self.depth)])
        return LabelMap(array, self.volume.affine, self.volume.native, self.volume.plane, dict(self.organs))

    def label_slice(self, t: int) -> UInt[np.ndarray, "h w"]:
        """Return the label values of slice t as they are now, read-only."""
        return self._shown.labels[self._valid.slice(t)]

    def automatic_slice(self, t: int) -> UInt[np.ndarray, "h w"]:
        """Return the label values of slice t before any edit, read-only."""
        return self._shown.automatic[self._valid.slice(t)].labels

    @property
    def prompts(self) -> Prompts:
        """What prompted each slice, automatic or given: `session.prompts[14]["liver"].box`."""
        return Prompts(self._prompts_of)

    @property
    def given(self) -> dict[tuple[int, str], Hashable]:
        """What is given, by slice and organ: a `GivenBox`, `GivenAbsence` or `GivenMask`."""
        return {(t, self._names[k]): found.given for (t, k), found in self._edits.corrections.given.items()}

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to go back before."""
        return self._edited.history.undo() != self._edited.history

    @property
    def can_redo(self) -> bool:
        """Whether there is an undo to take back."""
        return self._edited.history.redo() != self._edited.history

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
            UnwritableTarget: The log cannot be written; then nothing was edited.
        """
        return self._give(t, organ, self._valid.box(box))

    def absent(self, t: int, organ: str) -> Change:
        """Say that an organ is not on slice t; raises as `give_box`."""
        return self._give(t, organ, GivenAbsence())

    def paint(self, t: int, organ: str, mask: Bool[np.ndarray, "h w"]) -> Change:
        """Add pixels to an organ on slice t; its whole mask there is then given. Raises as `give_box`."""
        added = self._valid.mask(mask)
        return self._give(t, organ, GivenMask.of(self._mask_of(t, organ) | added))

    def erase(self, t: int, organ: str, mask: Bool[np.ndarray, "h w"]) -> Change:
        """Take pixels from an organ on slice t; its whole mask there is then given. Raises as `give_box`."""
        taken = self._valid.mask(mask)
        return self._give(t, organ, GivenMask.of(self._mask_of(t, organ) & ~taken))

    def fill(self, first: int, last: int, organ: str) -> Change:
        """Paint an organ on the slices between two on which it is painted, by interpolating its shape.

        Slices for which something is given for the organ stay as they are, and so do locked slices and all that is
        painted of other organs. Where it is painted on a slice between, that shape is interpolated, too.

        Raises:
            ValueError: There is no such slice or organ.
            UsageError: It is not painted on both slices, its masks do not overlap, or what is given or locked between
                them leaves nothing to fill. If all between them are painted already, nothing happens.
            UnwritableTarget: The log cannot be written; then nothing was edited.
        """
        k, (low, high) = self._valid.organ(organ), sorted((self._valid.slice(first), self._valid.slice(last)))
        shape, spacing_mm = self.volume.array.shape[1:], self.volume.spacing_mm[1:]
        masks = filled_masks(self._edits, k, organ, (low, high), shape, spacing_mm, self._where)
        return self._edited.do(Fill(organ=organ, masks=masks))

    def forget(self, t: int, organ: str) -> Change:
        """Take back what is given for an organ on slice t, wherever it has come to; raises as `give_box`."""
        self._valid.organ(organ)
        return self._edited.do(Forget(slice=self._unlocked(t), organ=organ))

    def lock(self, t: int) -> Change:
        """Keep slice t as it is now, whatever is given around it."""
        return self._edited.do(Lock(slice=t, labels=FrozenSlice.of(self.label_slice(t))))

    def release(self, t: int) -> Change:
        """Let a locked slice follow from what is given again."""
        return self._edited.do(Release(slice=self._valid.slice(t)))

    def propagate(self, t: int, direction: Direction = "both", until: int | None = None) -> Iterator[PropagatedSlice]:
        """Let what is given on slice t travel outward, slice by slice; one undo takes it back.

        It ends where nothing of it arrives any more, at locked slices and, organ by organ, at slices for which
        something is given for that organ. Slices for which something is given for other organs stay as they are, and
        it passes them. An iteration may be broken off, and ends when the session is edited meanwhile: what it has come
        to by then stays.

        Args:
            direction: "up" goes to larger indices.
            until: The last slice on its side of t.
        """
        travelling = dict.fromkeys(WAYS[direction], tuple(self._edits.corrections.at(self._valid.slice(t))))
        history, goes_on = self._edited.history, False
        for to, way in ((t + way * distance, way) for distance in range(1, self.depth) for way in WAYS[direction]):
            if self._edited.history is not history:
                return
            travelling[way] = self._going_on(t, travelling[way], to, until)
            if not travelling[way] or self._edits.corrections.at(to):
                continue
            organs = tuple(self._names[k] for k in travelling[way])
            change = self._edited.do(Travel(slice=t, organs=organs, to=to, goes_on=goes_on))
            history, goes_on = self._edited.history, goes_on or self._edited.history is not history
            yield PropagatedSlice(to, self._shown.labels[to], bool(change.slices))

    def undo(self) -> Change:
        """Go back to before the last edit; nothing happens if there is none."""
        return self._edited.do(Undo())

    def redo(self) -> Change:
        """Take back an undo; nothing happens if there was none, or something was edited since."""
        return self._edited.do(Redo())

    # --- results ---

    def compare(self) -> dict[str, Comparison]:
        """Return by organ how much is not as in the automatic result."""
        pairs = ((self._shown.automatic[t].labels, self._shown.labels[t]) for t in range(self.depth))
        return compare_slices(pairs, self.organs, self.volume.spacing_mm)

    def save(self, path: str | Path) -> None:
        """Write the label map as it is now, in the format that the name ends in; see `LabelMap.save`."""
        self.labels.save(path)

    def save_prompts(self, path: str | Path) -> None:
        """Write what prompted each organ and all that is given, as FILE.prompts.json.

        `sautomed segment --prompts FILE` then gives the label map as it is now.

        Raises:
            MissingFile: The scan's file is not there any more.
            UnwritableTarget: The file cannot be written.
        """
        slices = [self._automatic_prompts(t) for t in range(self.depth)]
        write_prompts(path, session_document(self.model, self.volume, self._options, slices, self._edits))

    # --- inside ---

    @property
    def _edits(self) -> Edits:
        return self._edited.edits

    @property
    def _where(self) -> str | Path:
        return self.volume.path or "session"

    def _give(self, t: int, organ: str, given: Given) -> Change:
        self._valid.organ(organ)
        return self._edited.do(Give(slice=self._unlocked(t), organ=organ, given=given))

    def _automatic_prompts(self, t: int) -> SlicePrompts:
        return automatic_prompts(self._shown.automatic[t], self._shown.labels[t], self.organs)

    def _prompts_of(self, t: int) -> dict[str, OrganPrompt]:
        found = dict(self._automatic_prompts(self._valid.slice(t)).organs)
        for k, correction in self._edits.corrections.at(t).items():
            organ = self._names[k]
            found[organ] = found[organ].as_given(given_of(correction), self.volume.array.shape[1:])
        return found

    def _going_on(self, t: int, classes: tuple[int, ...], to: int, until: int | None) -> tuple[int, ...]:
        """Return the classes of slice t that travel on as far as another slice."""
        beyond = until is not None and (to > until >= t or to < until <= t)
        if beyond or not 0 <= to < self.depth or to in self._edits.locked:
            return ()
        given = self._edits.corrections.given
        return tuple(k for k in classes if (to, k) not in given and self._shown.travels(given[t, k], to))

    def _mask_of(self, t: int, organ: str) -> Bool[np.ndarray, "h w"]:
        return self.label_slice(t) == sorted(self.organs)[self._valid.organ(organ)]

    def _unlocked(self, t: int) -> int:
        if self._valid.slice(t) in self._edits.locked:
            raise UsageError(
                f"slice {t} is locked, so nothing can be given for it.",
                where=self._where,
                cure=f"Release it first: session.release({t}).",
            )
        return t
