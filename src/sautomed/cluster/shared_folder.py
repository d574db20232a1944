"""The folders of a command, as its workers on other machines see them."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sautomed.errors import UnwritableTarget


@contextmanager
def probe_in(folder: Path) -> Iterator[Path]:
    """Keep a file in the outputs' folder during the block, by which machines tell whether they see that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".sautomed-") as file:
        yield Path(file.name)


def require_shared(probe: Path) -> None:
    """Raise UnwritableTarget if the folder of `probe_in` is another one on this machine."""
    if not probe.is_file():
        raise UnwritableTarget(
            f"is another folder on {platform.node()}, or is not there.",
            where=probe.parent,
            cure="Give -o a folder that all machines share, by its absolute path.",
        )


def enter(folder: Path) -> None:
    """Make relative paths mean what they mean to the command, on machines that have its working folder."""
    if folder.is_dir():
        os.chdir(folder)
