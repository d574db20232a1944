"""The folders of a command, as its workers on other machines see them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from sautomed.errors import UnwritableTarget


def require_shared(probe: Path) -> None:
    """Raise UnwritableTarget if the folder of the file of `probe_in` is another one on this machine."""
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
