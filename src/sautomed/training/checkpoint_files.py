"""Where a training has its checkpoints, and from which of them it can resume; needs no torch."""

import zipfile
from pathlib import Path
from typing import Literal


def fold_folder(run: Path, fold: int | Literal["all"]) -> Path:
    """Return the folder of one fold's training."""
    return run / f"fold_{fold}"


def checkpoint_folder(run: Path, fold: int | Literal["all"]) -> Path:
    """Return the folder of its checkpoints."""
    return fold_folder(run, fold) / "checkpoints"


def newest_whole(folder: Path) -> Path | None:
    """Return last.ckpt if it is whole, else best.ckpt if that is; None if neither is."""
    return next((path for path in (folder / "last.ckpt", folder / "best.ckpt") if is_whole(path)), None)


def damaged(folder: Path) -> list[Path]:
    """Return the checkpoints that are empty, cut short or changed since they were written."""
    return [path for path in sorted(folder.glob("[!.]*.ckpt")) if not is_whole(path)]


def is_whole(path: Path) -> bool:
    """Return whether there is such a file, and each of its parts has the checksum that was written with it."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False
