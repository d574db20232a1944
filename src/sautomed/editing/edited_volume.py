"""A scan as edits leave it, with its history and its log: each edit is predicted, written down, and then shown."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from jaxtyping import UInt

from sautomed.editing.changes import Change, count_change
from sautomed.editing.corrected_volume import CorrectedVolume
from sautomed.editing.edits import Edits
from sautomed.editing.history import History
from sautomed.editing.lines import Line
from sautomed.editing.log import EditLog, header_of, replay
from sautomed.editing.shown_volume import ShownVolume
from sautomed.inference.memory import CORRECTION_BYTES, FEATURE_BYTES
from sautomed.inference.model import Model
from sautomed.inference.segmenting import OnSlice
from sautomed.scans.files import full_disk_reported
from sautomed.scans.volume import Volume

log = logging.getLogger(__name__)


class EditedVolume:
    """The automatic result of a scan, and all edits of it; those in a log are made again.

    Args:
        model: Of a system that goes from slice to slice.
        folder: Of the log; None: nothing is logged.
        on_slice: Called after each slice of the automatic walk with the slices done and their number.
    Attributes:
        volume: The scan; its `warnings` say if the edits in the log were made on a result of another engine or
            precision, which is logged as well.
        names: Organs in the order of their label values.
        shown: The slices.
        history: What undo and redo can reach.
    """

    def __init__(self, model: Model, volume: Volume, folder: Path | None, on_slice: OnSlice | None):
        self.volume, self.organs, self.history = volume, model.labels, History()
        self.names = tuple(model.labels[value] for value in sorted(model.labels))
        self._log = None if folder is None else EditLog(folder, header_of(model, volume))
        try:
            spill = folder or Path(gettempdir())
            walk = model.walk(volume, FEATURE_BYTES, spill)
            with full_disk_reported(spill):
                self.shown = ShownVolume(CorrectedVolume(walk, len(self.names), CORRECTION_BYTES), on_slice)
            if self._log is not None:
                self._warn(self._log.warning())
                history = replay(self._log, self.names, volume.array.shape)
                self._take_over(history, self.shown.changed_by(history.now))
        except BaseException:
            self.close()
            raise

    @property
    def edits(self) -> Edits:
        """The edits in force."""
        return self.history.now

    def do(self, line: Line) -> Change:
        """Make an edit.

        Raises:
            UnwritableTarget: The log cannot be written; then nothing was edited.
        """
        history = line.after(self.history, self.names)
        if (history.now, history.place) == (self.edits, self.history.place):
            return count_change(self.shown.labels, {}, self.organs)
        labels = self.shown.changed_by(history.now)
        if self._log is not None:
            self._log.append(line)
        return self._take_over(history, labels)

    def close(self) -> None:
        """Let another session have the log."""
        if self._log is not None:
            self._log.close()

    def _take_over(self, history: History, labels: dict[int, UInt[np.ndarray, "h w"]]) -> Change:
        change = count_change(self.shown.labels, labels, self.organs)
        self.history = history
        self.shown.show(history.now, labels)
        return change

    def _warn(self, text: str | None) -> None:
        """Log a warning, and keep it with those of the scan, which whoever shows the session shows."""
        if text is not None:
            log.warning("%s", text)
            self.volume = replace(self.volume, warnings=(*self.volume.warnings, text))
