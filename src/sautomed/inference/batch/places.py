"""Places that scans come from and results go to: local paths, and URLs of remote stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from sautomed.errors import UsageError

STORES = ("s3", "gs")  # folders of files, to be read and written
WEB = ("https", "http")  # single files, to be read
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters or more: C:// is a disk


@dataclass(frozen=True)
class Url:
    """A file or folder of a remote store, such as s3://bucket/scans/a.nii.gz.

    As text it has neither the user and password nor the query of a web address, which may give access to the file.

    Args:
        address: The whole URL, without a slash at the end.
    """

    address: str

    def __str__(self) -> str:
        if not self.is_web:
            return self.address
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __truediv__(self, relative: str | PurePath) -> Url:
        base, below = str(self) if self.is_web else self.address, PurePath(relative).as_posix()
        return self if below == "." else Url(f"{base}/{below}")

    def holds(self, other: Url) -> bool:
        """Return whether another URL is below this one."""
        return other.address.startswith(f"{self.address}/")

    @property
    def scheme(self) -> str:
        return self.address.partition(":")[0]

    @property
    def is_web(self) -> bool:
        """Whether it is a single file of a web server, in place of an object or folder of a store."""
        return self.scheme in WEB

    @property
    def name(self) -> str:
        """The last part, as a file name; the bucket or host if there is no other."""
        return PurePath(unquote(str(self)) if self.is_web else self.address).name

    @property
    def parent(self) -> Url:
        """The folder that it is in; itself if it is a bucket."""
        scheme, _, rest = self.address.partition("://")
        above = str(self).partition("://")[2] if self.is_web else rest
        return Url(f"{scheme}://{above.rpartition('/')[0] or rest}")


Place = Path | Url


def place_of(text: str) -> Place:
    """Return what a text names: a path, also as file:// URL, or a URL.

    Raises:
        UsageError: It is a URL of another kind, or one that names no file and no folder.
    """
    found = _SCHEME.match(text)
    if found is None:
        return Path(text)
    scheme, rest = found[1].lower(), text[found.end() :].rstrip("/")
    if scheme == "file" and rest.startswith("/"):
        return Path(url2pathname(urlsplit(text).path))
    if scheme not in (*STORES, *WEB) or not rest.strip("/"):
        raise UsageError(
            "is no URL that can be used.",
            where=text,
            cure="Give one such as s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, https://HOST/FILE or file:///FOLDER, "
            "or a path.",
        )
    return Url(f"{scheme}://{rest}")
