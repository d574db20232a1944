"""A list of scans, as CSV or Parquet: columns case and path, and optional ones series and output.

A path is a URL, or a local path, absolute or from the folder of the list. `output` is where in the folder of outputs
the files of a case go, without ending, such as site_a/patient_1; by default the name of the case.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from sautomed.errors import BadList, MissingFile, NoCases, PackageMissing, UsageError
from sautomed.errors.text import listed
from sautomed.inference.batch.places import Place, Url, place_of
from sautomed.inference.batch.remote import fetch
from sautomed.scans.formats import LABEL_ENDINGS
from sautomed.scans.paths import require_file

log = logging.getLogger(__name__)

REQUIRED, OPTIONAL = ("case", "path"), ("series", "output")
PARQUET = (".parquet", ".pq")
FAULTS_SHOWN = 20  # ours: about one screen
MAX_NAME_BYTES = 200  # ours: of the 255 that file systems allow, less an ending and the prefix of a temporary file
_NO_FILE_NAME = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]|^\.|[. ]$')  # on some system; a leading dot hides a file
_SURPLUS = "\0"  # no column has this name
_CURE = "Correct the list there."


@dataclass(frozen=True)
class Entry:
    """A case of a run.

    Args:
        scan: Where the scan is.
        output: Where its files go: a path within the folder of outputs, without ending.
        series: DICOM series, if the list names one.
    """

    case: str
    scan: Place
    output: str
    series: str | None = None


@dataclass(frozen=True)
class _Table:
    """The rows of a list, each with where it is, such as "line 3"."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Mapping[str, Any]]]


def read_scan_list(place: Place) -> list[Entry]:
    """Read a list of scans; columns of other names are ignored, with a line in the log.

    Args:
        place: A file ending in .parquet or .pq, or of any other name in CSV.
    Raises:
        BadList: It cannot be read, or its rows have faults, all of which are named.
        NoCases: It has no row.
        MissingFile: There is no such file.
        AccessRefused, Unreachable: Of a URL.
        PackageMissing: A package for Parquet or the URL is not installed.
    """
    content = _content_of(place)
    table = (_parquet_table if place.name.lower().endswith(PARQUET) else _csv_table)(content, place)
    _check_columns(table.columns, place)
    entries, faults = _entries_of(table, place.parent)
    if faults:
        more = f" and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise BadList(f"{'; '.join(faults[:FAULTS_SHOWN])}{more}.", where=str(place), cure=_CURE)
    if not entries:
        raise NoCases("lists no scan.", where=str(place), cure="Add a row for each scan.")
    return entries


def _content_of(place: Place) -> bytes:
    if isinstance(place, Url):
        with TemporaryDirectory(prefix="sautomed-") as folder:
            copy = Path(folder) / "list"
            fetch({place: copy})
            return copy.read_bytes()
    require_file(place)
    try:
        return place.read_bytes()
    except OSError as error:
        raise MissingFile(
            f"cannot be read: {error.strerror}.", where=place, cure="Check the path and its permissions."
        ) from error


def _csv_table(content: bytes, place: Place) -> _Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadList("is not UTF-8 text.", where=str(place), cure="Save it as CSV in UTF-8, or as Parquet.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_SURPLUS, strict=True)
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        return _Table(columns, [(f"line {reader.line_num}", row) for row in reader])
    except csv.Error as error:
        raise BadList(f"line {reader.reader.line_num}: {error}.", where=str(place), cure=_CURE) from error


def _parquet_table(content: bytes, place: Place) -> _Table:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise PackageMissing(
            "Parquet needs the package pyarrow, which is not installed.",
            where=str(place),
            cure='Install it with: pip install "sautomed[cohort]"; or save the list as CSV.',
        ) from error
    try:
        columns = parquet.read_schema(arrow.BufferReader(content)).names
        known = [name for name in columns if name in (*REQUIRED, *OPTIONAL)]
        rows = parquet.read_table(arrow.BufferReader(content), columns=known).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise BadList(
            f"cannot be read as Parquet: {str(error).splitlines()[0]}",
            where=str(place),
            cure="Write it again; if it is CSV, let its name end in .csv.",
        ) from error
    return _Table(columns, [(f"row {number}", row) for number, row in enumerate(rows, start=1)])


def _check_columns(columns: Sequence[str], place: Place) -> None:
    """Raise BadList if a column is missing or there twice; note those that are ignored."""
    missing = [name for name in REQUIRED if name not in columns]
    twice = [name for name, count in Counter(columns).items() if count > 1 and name in (*REQUIRED, *OPTIONAL)]
    if missing or twice:
        faults = [*(f"has no column {name}" for name in missing), *(f"has the column {name} twice" for name in twice)]
        raise BadList(
            f"{'; '.join(faults)}. Its columns are: {listed(columns) or 'none'}.",
            where=str(place),
            cure="Name the columns in its first line: case,path and, if needed, series,output.",
        )
    ignored = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    if ignored:
        log.warning("%s: other columns are ignored: %s.", place, listed(ignored))


def _entries_of(table: _Table, folder: Place) -> tuple[list[Entry], list[str]]:
    """Return the entries of a table, and the faults of its rows."""
    entries, faults = [], []
    cases: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for where, values in table.rows:
        if _SURPLUS in values:
            faults.append(f"{where}: has more fields than there are columns")
            continue
        try:
            row = _Row.model_validate(values)
            entry = Entry(row.case, _scan_of(row.path, folder), row.output or row.case, row.series)
        except ValidationError as error:
            faults += [f"{where}: {fault}" for fault in _described(error)]
            continue
        except UsageError as error:
            faults.append(f"{where}: path {error.where} {error.fault.rstrip('.')}")
            continue
        other = cases.setdefault(entry.case, where)
        if other != where:
            faults.append(f"{where}: case {entry.case} is also that of {other}")
        elif outputs.setdefault(entry.output, where) != where:
            faults.append(f"{where}: output {entry.output} is also that of {outputs[entry.output]}")
        entries.append(entry)
    return entries, faults


def _scan_of(text: str, folder: Place) -> Place:
    place = place_of(text)
    return place if isinstance(place, Url) or place.is_absolute() else folder / place


def _described(error: ValidationError) -> Iterator[str]:
    """Yield the faults of a row in words."""
    for fault in error.errors():
        column = str(fault["loc"][0])
        if fault["type"] == "value_error":
            yield f"{column} {fault['ctx']['error']}"
        else:
            yield f"{column} is empty" if fault["input"] is None else f"{column} is no text"


def _none_if_blank(value: object) -> object:
    """Return None for what stands for nothing: blanks in CSV, nan in Parquet."""
    return None if value != value or (isinstance(value, str) and not value.strip()) else value


def _file_name(text: str) -> str:
    if _NO_FILE_NAME.search(text) or len(text.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"'{text}' cannot be the name of a file on every system")
    return text


def _path_within(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"'{text}' leads out of the folder of outputs")
    if text.lower().endswith(LABEL_ENDINGS):
        raise ValueError(f"'{text}' has the ending of a format, which --format chooses: leave it out")
    for part in text.split("/"):
        if not part:
            raise ValueError(f"'{text}' has a folder without a name")
        _file_name(part)
    return text


class _Row(BaseModel):
    """The columns of a row that are used."""

    model_config = ConfigDict(coerce_numbers_to_str=True, str_strip_whitespace=True)

    case: Annotated[str, AfterValidator(_file_name), BeforeValidator(_none_if_blank)]
    path: Annotated[str, BeforeValidator(_none_if_blank)]
    series: Annotated[str | None, BeforeValidator(_none_if_blank)] = None
    output: Annotated[Annotated[str, AfterValidator(_path_within)] | None, BeforeValidator(_none_if_blank)] = None
