"""The scans, the one that is open, and everything the page may do with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from sautomed.inference.prompts.collect import printable
from sautomed.scans.volume import Volume
from sautomed.studio.events import Emit, Event, Stop
from sautomed.studio.folder import ScanFolder
from sautomed.studio.open_scan import OpenScan
from sautomed.studio.refusals import NoSuch, Outdated
from sautomed.studio.requests import Edit, SaveRequest, WalkRequest
from sautomed.studio.session import Change, OpenSession

PROMPTS = ".prompts.json"
WindowOf = Callable[[Volume], tuple[float, float]]


class _CancelledError(Exception):
    """The page wants no more of it."""


class Workspace:
    """A folder of scans, of which at most one is open.

    Its caller does one thing at a time; only `describe`, `intensities` and `cancel` may be called besides.

    Args:
        open_session: Segments a scan, or continues from its log.
        window_of: The intensities of a scan that are black and white at first.
        model: Name of the model, for the page.
    """

    def __init__(self, folder: ScanFolder, open_session: OpenSession, window_of: WindowOf, model: str):
        self.folder, self.model, self._window_of = folder, model, window_of
        self._open_session = open_session
        self._opened: OpenScan | None = None
        self._revision = 0
        self._stop = Stop()

    def describe(self) -> dict[str, Any]:
        """Return the list of scans, and which one is open."""
        done = set(self.folder.notes.done)
        return {
            "model": self.model,
            "output": str(self.folder.output),
            "open": self._opened.case if self._opened else None,
            "scans": [
                {
                    "case": case,
                    "done": case in done,
                    "refusal": scan.refusal,
                    **scan.review.model_dump(exclude={"status"}),
                }
                for case, scan in self.folder.scans.items()
            ],
        }

    def open(self, case: str, emit: Emit, stop: Stop) -> None:
        """Open a scan, closing the one before it, and emit how far it is and at last the scan.

        Raises:
            NoSuch: There is no such scan.
            SautomedError: It cannot be read, or memory does not suffice.
        """
        if case not in self.folder.scans:
            raise NoSuch("there is no such scan")

        def report(done: int, total: int) -> None:
            if stop.is_set:
                raise _CancelledError
            emit({"kind": "progress", "done": done, "total": total})

        self._stop = stop
        if self._opened is None or self._opened.case != case:
            path, edits = self.folder.path_of(case), self.folder.edits_of(case)
            self.close()
            with suppress(_CancelledError), ExitStack() as on_failure:
                session = self._open_session(path, edits, report)
                on_failure.callback(session.close)
                window = self._window_of(session.volume)
                self._opened = OpenScan(case, session, window, self._next_revision())
                on_failure.pop_all()
        emit(self._opened.describe() if self._opened else {"kind": "cancelled"})

    def edit(self, revision: int, edit: Edit) -> Event:
        """Carry out an edit and return what it changed; raises NoSuch and Outdated."""
        return self._change(revision, lambda opened: opened.apply(edit))

    def undo(self, revision: int) -> Event:
        """Take back the last edit; raises NoSuch if there is none, or Outdated."""
        return self._change(revision, _undo)

    def redo(self, revision: int) -> Event:
        """Carry out the edit that was taken back last; raises NoSuch if there is none, or Outdated."""
        return self._change(revision, _redo)

    def _change(self, revision: int, change: Callable[[OpenScan], Change]) -> Event:
        opened = self._shown(revision)
        return opened.change(lambda: change(opened), self._next_revision())

    def walk(self, request: WalkRequest, emit: Emit, stop: Stop) -> None:
        """Walk again, and emit every slice as it is done; raises NoSuch and Outdated."""
        self._stop = stop
        self._shown(request.revision).walk(request, emit, stop, self._next_revision())

    def cancel(self) -> None:
        """Stop opening or walking after the slice that is being done."""
        self._stop()

    def intensities(self, number: int, start: int, count: int) -> bytes:
        """Return slices as 16 bit integers; raises NoSuch, and Outdated if the number is of another scan than is open.

        Without the number, a page would show one patient's slices under another's labels once a second page has
        opened another scan.
        """
        opened = self._any_open()
        if opened.number != number:
            raise Outdated("another scan has been opened")
        return opened.intensities(start, count)

    def save(self, request: SaveRequest) -> list[str]:
        """Write the labels, and the prompts if asked for, and return the names of the files.

        Raises:
            Outdated: The page shows an earlier state, or another scan.
            SautomedError: A file exists, cannot be written, or the format cannot hold the labels.
        """
        opened = self._shown(request.revision)
        targets = [self.folder.target_of(opened.case, ending, request.replace) for ending in request.endings]
        for target in targets:
            save = opened.session.save_prompts if target.name.endswith(PROMPTS) else opened.session.save
            save(target)
            self.folder.remember_saved(opened.case, target)
        return [printable(target.name) for target in targets]

    def mark(self, case: str, done: bool) -> None:
        """Note whether a case is done; raises NoSuch."""
        if case not in self.folder.scans:
            raise NoSuch("there is no such scan")
        self.folder.mark(case, done)

    def close(self) -> None:
        """Close the scan that is open, if one is."""
        if self._opened is not None:
            self._opened.session.close()
        self._opened = None

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def _any_open(self) -> OpenScan:
        if self._opened is None:
            raise Outdated("no scan is open")
        return self._opened

    def _shown(self, revision: int) -> OpenScan:
        opened = self._any_open()
        if opened.revision != revision:
            raise Outdated("another page has changed the scan, or opened another one; it is read again")
        return opened


def _undo(opened: OpenScan) -> Change:
    if not opened.session.can_undo:
        raise NoSuch("there is nothing to undo")
    return opened.session.undo()


def _redo(opened: OpenScan) -> Change:
    if not opened.session.can_redo:
        raise NoSuch("there is nothing to redo")
    return opened.session.redo()
