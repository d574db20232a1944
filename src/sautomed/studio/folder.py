"""The scans that may be opened, and the folder that results go to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sautomed.errors import MissingFile, TargetExists, UsageError
from sautomed.inference.batch.case_report import note_corrected
from sautomed.inference.batch.scans import find_scans, scan_files
from sautomed.inference.prompts.collect import printable
from sautomed.scans import read_geometry
from sautomed.scans.files import write_json
from sautomed.scans.formats import LABEL_ENDINGS, ending_of
from sautomed.scans.paths import read_json, resolved_path
from sautomed.studio.review import Review, read_review

_NOTES = "studio.json"


@dataclass(frozen=True)
class ListedScan:
    """A scan of the list.

    Attributes:
        refusal: Why it cannot be opened; None if it can.
        review: What `segment` found that a person should look at.
    """

    case: str
    path: Path
    refusal: str | None = None
    review: Review = field(default_factory=Review)


class Notes(BaseModel, extra="forbid"):
    """What is remembered between two starts: `studio.json` in the folder of results.

    Attributes:
        done: Cases that are marked as done.
        saved: Names of the files that the page has saved; only these are replaced without a question.
    """

    done: list[str] = []
    saved: list[str] = []


class ScanFolder:
    """The scans at a path, the least sure results first. They are named by their case; no path comes from the page.

    Names with bytes that are not UTF-8 have escapes on the page; the files keep theirs.

    Args:
        source: A scan, or a folder of scans.
        output: Folder of results, made when something is saved.
    Raises:
        MissingFile, NoCases: As `find_scans`.
        UsageError: `studio.json` in `output` is not the page's.
    """

    def __init__(self, source: Path, output: Path):
        self.source, self.output = source, output
        listed = [self._listed(scan.case, scan.path) for scan in find_scans(source, output).scans]
        self.scans = {printable(scan.case): scan for scan in sorted(listed, key=lambda scan: scan.review.rank)}
        self.notes = self._read_notes()

    def _listed(self, case: str, path: Path) -> ListedScan:
        links_out = path != self.source and self._leads_out(path)
        refusal = f"links to a place outside of {self.source}" if links_out else None
        return ListedScan(case, path, refusal, read_review(self._report_of(case)))

    def path_of(self, case: str) -> Path:
        """Return the path of a scan.

        Raises:
            KeyError: There is no such case.
            MissingFile: It is a link out of the folder, or one of its files is.
            DataError: Its header cannot be read.
        """
        known = self.scans[case]
        scan = self._listed(known.case, known.path)  # again: a link may have been changed since
        if scan.refusal is not None:
            raise MissingFile(
                f"{scan.refusal}, where nothing is opened.", where=scan.path,
                cure=f"Start with -i {resolved_path(scan.path).parent}.",
            )  # fmt: skip
        for file in _further_files(scan.path):
            if self._leads_out(file):
                raise MissingFile(
                    f"has the file {file.name}, a link to a place outside of {self.source}, where nothing is read.",
                    where=scan.path, cure=f"Replace the link {file} by the file that it leads to.",
                )  # fmt: skip
        return scan.path

    def _leads_out(self, path: Path) -> bool:
        inside = self.source if self.source.is_dir() else self.source.parent
        return not resolved_path(path).is_relative_to(resolved_path(inside))

    def _report_of(self, name: str) -> Path:
        return self.output / f"{name}.json"

    def edits_of(self, case: str) -> Path:
        """Return the folder of a case's log."""
        return self.output / "edits" / self.scans[case].case

    def target_of(self, case: str, ending: str, replace: bool) -> Path:
        """Return the file that a case is saved as.

        Args:
            ending: One of `LABEL_ENDINGS`, or ".prompts.json".
            replace: Whether it may replace a file that the page did not save.
        Raises:
            UnknownFormat: There is no such ending.
            TargetExists: There is a file.
        """
        if ending != ".prompts.json":
            ending = ending_of(f"case{ending}", LABEL_ENDINGS, "label maps")
        target = self.output / f"{self.scans[case].case}{ending}"
        if target.exists() and printable(target.name) not in self.notes.saved and not replace:
            raise TargetExists(
                "exists already.", where=target, cure="Allow to replace it, or start with another folder (-o)."
            )
        return target

    def remember_saved(self, case: str, target: Path) -> None:
        """Note that a file may be replaced here, and is kept by `segment --resume`."""
        self.notes.saved = sorted({*self.notes.saved, printable(target.name)})
        self._write_notes()
        note_corrected(self._report_of(self.scans[case].case), [target])

    def mark(self, case: str, done: bool) -> None:
        """Note whether a case is done."""
        self.notes.done = sorted({*self.notes.done} - {case} | ({case} if done else set()))
        self._write_notes()

    def _read_notes(self) -> Notes:
        path = self.output / _NOTES
        if not path.is_file():
            return Notes()
        try:
            return Notes.model_validate(read_json(path, UsageError))
        except ValidationError as error:
            raise UsageError(
                "does not hold the notes of the page.", where=path,
                cure="Start with another folder of results (-o).",
            ) from error  # fmt: skip

    def _write_notes(self) -> None:
        write_json(self.output / _NOTES, self.notes.model_dump())


def _further_files(scan: Path) -> list[Path]:
    """Return the files that a scan consists of besides its own path: of a DICOM folder, or the voxels of a header."""
    if scan.is_dir():
        return scan_files(scan)
    voxels = read_geometry(scan).voxel_path
    return [] if voxels is None else [voxels]
