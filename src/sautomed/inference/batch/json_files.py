"""JSON objects in files at any place: on a local disk, or in a remote store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sautomed.errors import UnwritableTarget
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.remote import read_bytes, read_many, remove, write_bytes
from sautomed.scans.files import write_json


def read_object(place: Place) -> dict[str, Any]:
    """Read a JSON object; an empty one if the file holds none, so that nothing in it counts.

    Raises:
        AccessRefused, Unreachable, PackageMissing: Of a URL.
    """
    return next(read_objects([place]))


def read_objects(places: Sequence[Place]) -> Iterator[dict[str, Any]]:
    """Yield the objects of several files, all local or all remote; otherwise as `read_object`."""
    urls = [place for place in places if isinstance(place, Url)]
    if urls:
        yield from map(_object_in, read_many(urls))
        return
    for path in (place for place in places if isinstance(place, Path)):
        yield _object_in(_bytes_of(path))


def write_object(place: Place, value: dict[str, Any]) -> None:
    """Write a JSON object atomically.

    Raises:
        UnwritableTarget: The place cannot be written.
        Unreachable, PackageMissing: Of a URL.
    """
    if isinstance(place, Url):
        write_bytes(place, json_bytes(value))
    else:
        write_json(place, value)


def remove_file(place: Place) -> None:
    """Remove a file, if it is there.

    Raises:
        UnwritableTarget: It cannot be removed.
        Unreachable, PackageMissing: Of a URL.
    """
    if isinstance(place, Url):
        remove(place)
        return
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableTarget(
            f"cannot be removed: {error.strerror}.", where=place, cure="Choose another place with -o."
        ) from error


def is_file_at(place: Place) -> bool:
    """Return whether there is a file.

    Raises:
        AccessRefused, Unreachable, PackageMissing: Of a URL.
    """
    if isinstance(place, Url):
        return read_bytes(place) is not None
    return place.exists()


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return a JSON object as a file holds it."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _object_in(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads((content or b"").decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
