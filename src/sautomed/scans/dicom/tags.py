"""Read values of DICOM elements as scanners really write them: empty, of the wrong type, with decimal commas."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from sautomed.scans.dicom.damage import LIBRARY_ERRORS, printable

_LARGEST = 1e12  # ours: far above any length, count or intensity of a scan


def numbers(dataset: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return the numbers of an element; None if it is absent or empty.

    Args:
        count: Required number of values; any if None.
    Raises:
        ValueError: They are not finite numbers, or not `count`. The message names the element.
    """
    value = _value(dataset, keyword)
    if value is None:
        return None
    try:
        found = tuple(_number(part) for part in _parts(value))
    except LIBRARY_ERRORS as error:
        raise ValueError(f"{keyword} is not a number: {printable(str(value), 40)!r}") from error
    if not found:
        return None
    if count is not None and len(found) != count:
        raise ValueError(f"{keyword} has {len(found)} numbers instead of {count}")
    if not all(math.isfinite(number) and abs(number) < _LARGEST for number in found):
        raise ValueError(f"{keyword} is {found[0]:g}" if count == 1 else f"{keyword} is not finite or absurdly large")
    return found


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the single number of an element; None if it is absent or empty. Raises ValueError as `numbers`."""
    found = numbers(dataset, keyword, 1)
    return None if found is None else found[0]


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return the single integer of an element; None if it is absent or empty. Raises ValueError as `numbers`."""
    found = number(dataset, keyword)
    if found is not None and found != int(found):
        raise ValueError(f"{keyword} is not a whole number: {found:g}")
    return None if found is None else int(found)


def text(dataset: Dataset, keyword: str) -> str:
    r"""Return an element as one line, several values separated by \; empty if it is absent or unreadable."""
    value = _value(dataset, keyword)
    return "" if value is None else "\\".join(_as_text(part) for part in _parts(value))


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; an empty list if the element is absent or not a sequence."""
    value = None if dataset is None else _value(dataset, keyword)
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Iterable) else []


def uid_of(value: str) -> UID:
    """Return a UID without validation; its `name` is the text itself if the standard does not define it."""
    return UID(value, validation_mode=IGNORE)


def _value(dataset: Dataset, keyword: str) -> Any:
    """Return the value as pydicom decodes it, else its bytes as text; None if it is absent or empty."""
    tag = tag_for_keyword(keyword)
    try:
        value = dataset[tag].value if tag in dataset else None
    except LIBRARY_ERRORS:
        raw = dataset.get_item(tag)  # not converted, because converting it failed
        value = getattr(raw, "value", None)
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip("\0 ")
    return None if value is None or (isinstance(value, str) and not value.strip()) else value


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.split("\\")
    parts = list(value) if isinstance(value, Iterable) else [value]
    return [part for part in parts if part is not None]


def _as_text(part: Any) -> str:
    """Return one value as text; equal numbers give equal text, however a file wrote them."""
    return f"{part:.6g}" if isinstance(part, float) else printable(str(part))


def _number(part: Any) -> float:
    # Some scanners write a decimal comma, as is usual in their country.
    return float(part.strip("\0 ").replace(",", ".") if isinstance(part, str) else part)
