"""What the page asked for and does not get. A page that works as it should meets these rarely, and recovers."""

# ruff: noqa: N818  (the names say what is wrong, as in sautomed.errors)

from typing import ClassVar


class Refused(Exception):
    """Base of all; `status` is the HTTP status, and `id` what the page distinguishes them by."""

    id: ClassVar[str] = "refused"
    status: ClassVar[int] = 400


class NoSuch(Refused):
    """There is no such scan, slice, organ or box."""

    id = "no-such"
    status = 404


class Outdated(Refused):
    """The page shows an earlier state of the scan, or no scan is open."""

    id = "outdated"
    status = 409


class Failed(Refused):
    """A bug, or memory that ran out: nobody expected it, and the page says what it was."""

    id = "failed"
    status = 500
