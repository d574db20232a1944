"""Choose the series to read: the only one that is a volume, or the one that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import DataError, NoUsableSeries, SeveralSeries
from sautomed.scans.dicom.checks import irregularity, require_stack, warnings_of
from sautomed.scans.dicom.find import FoundSlices, find
from sautomed.scans.dicom.geometry import Stack
from sautomed.scans.dicom.series import Series, group
from sautomed.scans.stored import ReadOptions


@dataclass(frozen=True)
class SeriesRow:
    """One line of the table from which users choose a series.

    Args:
        number: From 1.
        uid: SeriesInstanceUID; empty if the files have none.
        modality: Such as CT or MR.
        description: SeriesDescription or folder, and what distinguishes it from other parts of the same series.
        size: Columns and rows, or None if it holds no images.
        spacing_mm: Between columns, rows and slices, or None if its images are no stack.
        slices: Number of images.
        usable: Whether it is a volume.
        reason: Why it is not usable; empty if it is.
    """

    number: int
    uid: str
    modality: str
    description: str
    size: tuple[int, int] | None
    spacing_mm: tuple[float, float, float] | None
    slices: int
    usable: bool
    reason: str

    def __str__(self) -> str:
        size = " x ".join(map(str, (*self.size, self.slices))) if self.size else f"{self.slices} files"
        spacing = " x ".join(f"{mm:.4g}" for mm in self.spacing_mm) + " mm" if self.spacing_mm else "no spacing"
        title = f"{self.number}: {self.modality or 'unknown'} {self.description or 'without description'}"
        return f"{title}, {size}, {spacing}, {'usable' if self.usable else f'not usable: it {self.reason}'}"


@dataclass(frozen=True, eq=False)
class ChosenSeries:
    """The series to read.

    Args:
        found: All slices in the folder, zip or file.
        series: The chosen series.
        stack: Its slices in order.
        fault: Why they are not a regular grid, if they are to be resampled.
        warnings: Oddities that do not keep it from being read.
    """

    found: FoundSlices
    series: Series
    stack: Stack
    fault: DataError | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A series with its stack, or with the fault that keeps it from being read."""

    series: Series
    stack: Stack | None
    fault: DataError | None

    def usable(self, *, resample: bool) -> bool:
        return self.stack is not None and (self.fault is None or resample)


def series_table(path: str | Path, *, resample: bool = False) -> list[SeriesRow]:
    """List the series in a folder, zip or file, in the order of their numbers.

    Args:
        resample: Count as usable what `ReadOptions.resample` makes usable.
    Raises:
        NotAScan, DamagedDicom, MissingFile, UnsafeArchive, TruncatedFile: The folder, zip or file cannot be searched.
    """
    path = Path(path)
    return _rows(_candidates(find(path), path), resample=resample)


def choose_series(path: Path, options: ReadOptions) -> ChosenSeries:
    """Return the only readable series, or the one that `options.series` names.

    Raises:
        SeveralSeries: More than one fits, or none fits the name.
        NoUsableSeries: There are several, and none is a volume.
        DataError: The only series, or the named one, is not a volume; the fault says why. Also as `series_table`.
    """
    found = find(path)
    candidates = _candidates(found, path)
    rows = _rows(candidates, resample=options.resample)
    matching = candidates if options.series is None else _matching(candidates, rows, options.series, path)
    chosen = _pick(matching, rows, options, path)
    if chosen.stack is None or (chosen.fault is not None and not options.resample):
        raise chosen.fault or NoUsableSeries("holds no volume.", where=path, cure="Give another series.")
    warnings = list(found.warnings)
    if sum(rows[candidates.index(item)].size is not None for item in matching) > 1:
        row = rows[candidates.index(chosen)]
        warnings.append(f"{path}: series {row.number} is taken, the only volume of {len(matching)} series ({row}).")
    if chosen.fault is None:
        warnings += warnings_of(chosen.stack, path)
    return ChosenSeries(found, chosen.series, chosen.stack, chosen.fault, tuple(warnings))


def _candidates(found: FoundSlices, path: Path) -> list[_Candidate]:
    return [_candidate(series, path) for series in group(found.slices)]


def _candidate(series: Series, path: Path) -> _Candidate:
    try:
        stack = require_stack(series, path)
    except DataError as error:
        return _Candidate(series, None, error)
    return _Candidate(series, stack, irregularity(stack, path))


def _rows(candidates: list[_Candidate], *, resample: bool) -> list[SeriesRow]:
    return [_row(number, item, resample=resample) for number, item in enumerate(candidates, start=1)]


def _row(number: int, item: _Candidate, *, resample: bool) -> SeriesRow:
    header = item.series.slices[0].file
    usable = item.usable(resample=resample)
    return SeriesRow(
        number=number,
        uid=item.series.uid,
        modality=item.series.modality,
        description=item.series.description,
        size=(header.columns, header.rows) if header.columns and header.rows else None,
        spacing_mm=(*item.stack.spacing_mm, item.stack.slice_spacing_mm) if item.stack else None,
        slices=len(item.series.slices),
        usable=usable,
        reason="" if usable or item.fault is None else item.fault.fault,
    )


def _matching(candidates: list[_Candidate], rows: list[SeriesRow], wanted: str, path: Path) -> list[_Candidate]:
    """Return the series with a number, else with a UID, else with a text in their description."""
    wanted = wanted.strip()
    by_number = [row.number for row in rows if wanted == str(row.number)]
    by_uid = [row.number for row in rows if wanted == row.uid]
    by_text = [row.number for row in rows if wanted and wanted.lower() in row.description.lower()]
    numbers = by_number or by_uid or by_text
    if not numbers:
        raise SeveralSeries(
            f"holds no series {wanted!r}. It holds:\n{_one_per_line(rows)}\n",
            where=path,
            cure="Name one with --series by its number, its UID, or a part of its description.",
        )
    return [candidates[number - 1] for number in numbers]


def _pick(matching: list[_Candidate], rows: list[SeriesRow], options: ReadOptions, path: Path) -> _Candidate:
    """Return the only usable series, or the only one with images at all."""
    with_images = [item for item in matching if item.series.slices[0].file.rows is not None] or matching
    if len(with_images) == 1:
        return with_images[0]
    usable = [item for item in matching if item.usable(resample=options.resample)]
    if len(usable) == 1:
        return usable[0]
    if usable:
        named = f", {len(matching)} of them named {options.series!r}" if options.series else ""
        raise SeveralSeries(
            f"holds {len(rows)} series{named}, and {len(usable)} of them are volumes:\n{_one_per_line(rows)}\n",
            where=path,
            cure="Choose one with --series by its number, its UID, or a part of its description.",
        )
    irregular = any(item.stack is not None for item in matching)
    raise NoUsableSeries(
        f"holds {len(rows)} series, but none of them is a volume:\n{_one_per_line(rows)}\n",
        where=path,
        cure="Give --resample with --series to have an uneven or tilted one resampled onto a regular grid."
        if irregular
        else "Give a folder with a series of CT, MR or PET slices.",
    )


def _one_per_line(rows: list[SeriesRow]) -> str:
    return "\n".join(f"  {row}" for row in rows)
