"""Places that a command is given: paths that the system can open, and URLs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from sautomed.errors import UsageError

if TYPE_CHECKING:
    from sautomed.inference.batch.places import Place


def given_place(text: str) -> Place:
    """Return the path or URL that an option names.

    Raises:
        UsageError: No system could open it.
    """
    from sautomed.inference.batch.places import place_of

    place = place_of(text)
    if isinstance(place, Path):
        require_usable(place)
    return place


def require_usable(path: Path) -> None:
    """Raise UsageError for a path that no system could open, such as one with too long a name."""
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
            return  # missing or not permitted: reading or writing it reports that
        raise UsageError(
            f"cannot be used as a path: {error.strerror}.", where=path, cure="Correct the path, or give another."
        ) from error
