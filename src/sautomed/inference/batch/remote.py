"""Files of remote stores, by fsspec: list, fetch, read, send and remove them; each error names the URL.

Credentials and addresses of servers are the matter of fsspec and its packages, which take them from the environment.
Listings are not kept, so that other processes' files are seen.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.spec import AbstractFileSystem

from sautomed.errors import (
    AccessRefused,
    DataError,
    MissingFile,
    PackageMissing,
    SautomedError,
    Unreachable,
    UnwritableTarget,
)
from sautomed.inference.batch.places import Url
from sautomed.scans.files import full_disk_reported

_COHORT = 'pip install "sautomed[cohort]"'
_PACKAGES = {"s3": _COHORT, "https": _COHORT, "http": _COHORT, "gs": "pip install gcsfs"}
# What identifies the content of a file, by the names that stores give it.
_STAMPS = ("ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified")
_MD5 = re.compile(r'"?([0-9a-f]{32})"?', re.ASCII)  # the ETag of a file in several pieces ends in their number
_AT_A_TIME = 500  # ours: reports that are read together
_CREDENTIALS = (
    "Give credentials that may, as fsspec takes them from the environment: for s3:// AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY."
)
# Errors of the libraries below fsspec that are no OSError: those of credentials, and all.
_NO_CREDENTIALS = {
    "botocore.exceptions": ("NoCredentialsError", "PartialCredentialsError"),
    "google.auth.exceptions": ("GoogleAuthError",),
}
_LIBRARY_ERRORS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "aiohttp.client_exceptions": ("ClientError",),
    "gcsfs.retry": ("HttpError",),
    "google.auth.exceptions": ("GoogleAuthError",),
}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a store.

    Args:
        size: In bytes; None if the server does not say.
        stamp: What changes with its content, such as an ETag; None if the server gives nothing like it.
        md5: In hexadecimal: of the content, if the file was sent in one piece and is not encrypted with a key of the
            account's own, else of something else; None if the store gives none.
    """

    size: int | None
    stamp: str | None
    md5: str | None = None


@dataclass(frozen=True)
class Found:
    """What is at a URL.

    Args:
        files: By their path below the URL; of a single file, by its name.
    """

    is_folder: bool
    files: Mapping[str, RemoteFile]

    @property
    def version(self) -> str | None:
        """A hash that changes with any of the files; None if the store gives nothing that it could be made of."""
        if any(file.stamp is None for file in self.files.values()):
            return None
        lines = (f"{name} {file.size} {file.stamp}" for name, file in sorted(self.files.items()))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def look_at(url: Url) -> Found:
    """Return what is at a URL: a file, or a folder with all files below it.

    Raises:
        MissingFile: There is nothing.
        AccessRefused, Unreachable, PackageMissing.
    """
    store = _store(url)
    with _errors_named(url):
        info = store.info(url.address)
        if info["type"] != "directory":
            return Found(False, {url.name: _remote_file(info)})
    return Found(True, files_below(url))


def files_below(url: Url, prefix: str = "") -> dict[str, RemoteFile]:
    """Return the files below a folder by their path from there; none if there is no such folder.

    Args:
        prefix: With which their paths begin.
    """
    store = _store(url)
    with _errors_named(url):
        try:
            # Only stores that can list by prefix take one.
            found = store.find(url.address, detail=True, **({"prefix": prefix} if prefix else {}))
        except FileNotFoundError:
            return {}
        root = store._strip_protocol(url.address).rstrip("/") + "/"
    files = {name.removeprefix(root): _remote_file(info) for name, info in found.items() if name.startswith(root)}
    return {name: file for name, file in files.items() if name and not name.endswith("/")}


def fetch(files: Mapping[Url, Path]) -> None:
    """Copy remote files to local paths, several at a time.

    Raises:
        MissingFile, AccessRefused, Unreachable, PackageMissing.
        UnwritableTarget: The local disk is full.
    """
    if not files:
        return
    urls = list(files)
    with _errors_named(urls[0]), full_disk_reported(files[urls[0]].parent):
        _store(urls[0]).get([url.address for url in urls], [str(files[url]) for url in urls])


def send(files: Mapping[Path, Url]) -> None:
    """Copy local files to a store, several at a time.

    Raises:
        UnwritableTarget: The store refuses them, or there is no such bucket.
        Unreachable, PackageMissing.
    """
    if not files:
        return
    paths, urls = list(files), list(files.values())
    with _errors_named(urls[0], writing=True):
        _store(urls[0]).put([str(path) for path in paths], [url.address for url in urls])


def read_many(urls: Sequence[Url]) -> Iterator[bytes | None]:
    """Yield the content of files in their order, None for those that are not there; many are read at a time."""
    for start in range(0, len(urls), _AT_A_TIME):
        some = urls[start : start + _AT_A_TIME]
        store = _store(some[0])
        with _errors_named(some[0]):
            # Not `cat`, which takes brackets in a name for a pattern.
            for found in store.cat_ranges([url.address for url in some], None, None, on_error="return"):
                if isinstance(found, Exception) and not isinstance(found, FileNotFoundError):
                    raise found
                yield None if isinstance(found, FileNotFoundError) else found


def read_starts(urls: Sequence[Url], length: int) -> list[bytes]:
    """Return the first bytes of files; none of files that cannot be read, which reading them as a whole reports."""
    if not urls:
        return []
    with _errors_named(urls[0]):
        found = _store(urls[0]).cat_ranges([url.address for url in urls], 0, length, on_error="return")
    return [b"" if isinstance(start, Exception) else start for start in found]


def read_bytes(url: Url) -> bytes | None:
    """Return the content of a file; None if it is not there."""
    return next(read_many([url]))


def write_bytes(url: Url, content: bytes) -> None:
    """Write a file; readers see the whole of it or none.

    Raises:
        UnwritableTarget, Unreachable, PackageMissing: As `send`.
    """
    with _errors_named(url, writing=True):
        _store(url).pipe_file(url.address, content)


def remove(url: Url) -> None:
    """Remove a file, if it is there; errors as of `send`."""
    with _errors_named(url, writing=True):
        try:
            _store(url).rm_file(url.address)
        except FileNotFoundError:
            return


def require_safe_names(url: Url, names: Iterable[str]) -> None:
    """Raise DataError if a path below a folder would lie outside of it on a local disk."""
    for name in names:
        if not name or "\\" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"has a file {name}, whose name leads out of the folder.", where=str(url), cure="Rename that file."
            )


def _store(url: Url) -> AbstractFileSystem:
    try:
        return fsspec.filesystem(url.scheme, use_listings_cache=False)
    except ImportError as error:
        raise PackageMissing(
            f"{url.scheme}:// needs a package that is not installed.",
            where=str(url),
            cure=f"Install it with: {_PACKAGES[url.scheme]}",
        ) from error


def _remote_file(info: Mapping[str, object]) -> RemoteFile:
    size, stamp = info.get("size"), next((info[name] for name in _STAMPS if info.get(name)), None)
    return RemoteFile(size if isinstance(size, int) else None, None if stamp is None else str(stamp), _md5_of(info))


def _md5_of(info: Mapping[str, object]) -> str | None:
    """Return what S3 gives as ETag, or Google as md5Hash, if it may be the MD5 of the content."""
    if isinstance(in_base64 := info.get("md5Hash"), str):
        return base64.b64decode(in_base64).hex()
    found = _MD5.fullmatch(str(info.get("ETag")))
    return found[1] if found else None


@contextmanager
def _errors_named(url: Url, *, writing: bool = False) -> Iterator[None]:
    """Turn errors of fsspec and of the libraries below it into ours."""
    try:
        yield
    except _foreign_errors() as error:
        # Of a web server, fsspec calls every fault a missing file.
        cause = error.__cause__ if url.is_web and isinstance(error.__cause__, Exception) else error
        raise (_write_error if writing else _read_error)(url, cause) from error


def _read_error(url: Url, error: Exception) -> SautomedError:
    if _is_refusal(error):
        return AccessRefused("may not be read.", where=str(url), cure=_CREDENTIALS)
    if _is_missing(error):
        return MissingFile("does not exist.", where=str(url), cure="Correct the URL.")
    return _unreachable(url, error)


def _write_error(url: Url, error: Exception) -> SautomedError:
    if _is_refusal(error):
        return UnwritableTarget("may not be written.", where=str(url), cure=_CREDENTIALS)
    if _is_missing(error):
        return UnwritableTarget(
            "cannot be written: there is no such bucket.", where=str(url), cure="Make it, or give another -o."
        )
    return _unreachable(url, error)


def _unreachable(url: Url, error: Exception) -> Unreachable:
    text = str(error).replace(url.address, str(url)) or type(error).__name__
    return Unreachable(
        f"cannot be reached or used: {text.rstrip('.')}.",
        where=str(url),
        cure="Correct the URL, or the address of the server, and run it again; with --resume if cases are done.",
    )


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, (PermissionError, *_loaded(_NO_CREDENTIALS))) or _status(error) in (401, 403)


def _is_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or _status(error) in (404, 410)


def _status(error: Exception) -> object:
    """Return the status of an HTTP response that is an error."""
    return getattr(error, "status", None) or getattr(error, "code", None)


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Return the errors that fsspec raises or lets through."""
    return OSError, *_loaded(_LIBRARY_ERRORS)


def _loaded(classes: Mapping[str, Sequence[str]]) -> tuple[type[Exception], ...]:
    """Return the error classes of those libraries that are imported: no others can be raised."""
    return tuple(
        getattr(sys.modules[module], name)
        for module, names in classes.items() if module in sys.modules for name in names
    )  # fmt: skip
