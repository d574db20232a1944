"""Which series of a place is meant: the only one that is a volume, or the one that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import DataError, NoUsableSeries, SeveralSeries
from sautomed.scans.dicom.find import Found, find
from sautomed.scans.dicom.geometry import Stack
from sautomed.scans.dicom.judge import irregularity, judge, notes_of
from sautomed.scans.dicom.series import Series, group
from sautomed.scans.stored import ReadOptions


@dataclass(frozen=True)
class SeriesRow:
    """A line of the table that users choose from.

    Args:
        number: From 1.
        uid: SeriesInstanceUID; empty if the files have none.
        modality: Such as CT or MR.
        description: What the scanner called it, and what tells it from other parts of the same series.
        size: Columns and rows, or None if it holds no images.
        spacing_mm: Between columns, rows and slices, or None if it is no stack.
        slices: How many images.
        usable: Whether it is a volume.
        reason: Why not; empty if it is.
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
        told = f"{self.number}: {self.modality or 'unknown'} {self.description or 'without description'}"
        return f"{told}, {size}, {spacing}, {'usable' if self.usable else f'not usable: it {self.reason}'}"


@dataclass(frozen=True, eq=False)
class Choice:
    """The series to read.

    Args:
        found: Everything in the place.
        series: The one meant.
        stack: Its slices in order.
        fault: Why they are no regular grid, if they are to be resampled.
        warnings: What is odd.
    """

    found: Found
    series: Series
    stack: Stack
    fault: DataError | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Judged:
    """A series, and its stack or the fault that keeps it from being read."""

    series: Series
    stack: Stack | None
    fault: DataError | None

    def usable(self, *, resample: bool) -> bool:
        return self.stack is not None and (self.fault is None or resample)


def series_table(path: str | Path, *, resample: bool = False) -> list[SeriesRow]:
    """What series a folder, zip or file holds, in the order of their numbers.

    Args:
        resample: Count as usable what `ReadOptions.resample` makes usable.
    Raises:
        NotAScan, DamagedDicom, MissingFile, UnsafeArchive, TruncatedFile: Of the place as a whole.
    """
    path = Path(path)
    return _rows(_judged(find(path), path), resample=resample)


def choose(path: Path, options: ReadOptions) -> Choice:
    """The series that is meant.

    Raises:
        SeveralSeries: More than one could be.
        NoUsableSeries: There are several, and none is a volume.
        DataError: The only one, or the one named, is no volume; the fault says why. Also as `series_table`.
    """
    found = find(path)
    judged = _judged(found, path)
    rows = _rows(judged, resample=options.resample)
    meant = judged if options.series is None else _named(judged, rows, options.series, path)
    chosen = _only(meant, rows, options, path)
    if chosen.stack is None or (chosen.fault is not None and not options.resample):
        raise chosen.fault or NoUsableSeries("holds no volume.", where=path, cure="Give another series.")
    notes = list(found.warnings)
    if sum(rows[judged.index(item)].size is not None for item in meant) > 1:
        number = judged.index(chosen) + 1
        notes.append(f"{path}: series {number} is taken, the only volume of {len(meant)} series ({rows[number - 1]}).")
    if chosen.fault is None:
        notes += notes_of(chosen.stack, path)
    return Choice(found, chosen.series, chosen.stack, chosen.fault, tuple(notes))


def _judged(found: Found, path: Path) -> list[_Judged]:
    return [_judge(series, path) for series in group(found.slices)]


def _judge(series: Series, path: Path) -> _Judged:
    try:
        stack = judge(series, path)
    except DataError as error:
        return _Judged(series, None, error)
    return _Judged(series, stack, irregularity(stack, path))


def _rows(judged: list[_Judged], *, resample: bool) -> list[SeriesRow]:
    return [_row(number, item, resample=resample) for number, item in enumerate(judged, start=1)]


def _row(number: int, item: _Judged, *, resample: bool) -> SeriesRow:
    header = item.series.slices[0].file
    usable = item.usable(resample=resample)
    return SeriesRow(
        number=number,
        uid=item.series.uid,
        modality=item.series.modality,
        description=item.series.description,
        size=(header.columns, header.rows) if header.columns and header.rows else None,
        spacing_mm=(*item.stack.spacing_mm, item.stack.step_mm) if item.stack else None,
        slices=len(item.series.slices),
        usable=usable,
        reason="" if usable or item.fault is None else item.fault.fault,
    )


def _named(judged: list[_Judged], rows: list[SeriesRow], wanted: str, path: Path) -> list[_Judged]:
    """The series that a number, a UID, or a part of a description means."""
    wanted = wanted.strip()
    by_number = [row.number for row in rows if wanted == str(row.number)]
    by_uid = [row.number for row in rows if wanted == row.uid]
    by_text = [row.number for row in rows if wanted and wanted.lower() in row.description.lower()]
    numbers = by_number or by_uid or by_text
    if not numbers:
        raise SeveralSeries(
            f"holds no series {wanted!r}. It holds:\n{_listed(rows)}\n",
            where=path,
            cure="Name one with --series by its number, its UID, or a part of its description.",
        )
    return [judged[number - 1] for number in numbers]


def _only(meant: list[_Judged], rows: list[SeriesRow], options: ReadOptions, path: Path) -> _Judged:
    """The only one that is usable, or the only one with images at all."""
    scans = [item for item in meant if item.series.slices[0].file.rows is not None] or meant
    if len(scans) == 1:
        return scans[0]
    usable = [item for item in meant if item.usable(resample=options.resample)]
    if len(usable) == 1:
        return usable[0]
    if usable:
        named = f", {len(meant)} of them named {options.series!r}" if options.series else ""
        raise SeveralSeries(
            f"holds {len(rows)} series{named}, and {len(usable)} of them are volumes:\n{_listed(rows)}\n",
            where=path,
            cure="Choose one with --series by its number, its UID, or a part of its description.",
        )
    irregular = any(item.stack is not None for item in meant)
    raise NoUsableSeries(
        f"holds {len(rows)} series, but none of them is a volume:\n{_listed(rows)}\n",
        where=path,
        cure="Give --resample with --series to have an uneven or tilted one brought onto a regular grid."
        if irregular
        else "Give a folder with a series of CT, MR or PET slices.",
    )


def _listed(rows: list[SeriesRow]) -> str:
    return "\n".join(f"  {row}" for row in rows)
