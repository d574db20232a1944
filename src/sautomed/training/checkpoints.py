"""Checkpoint files: written whole or not at all."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from sautomed.errors import DamagedWeights
from sautomed.scans.files import atomic_write


class AtomicCheckpointIO(CheckpointIO):
    """Writes each checkpoint beside its target and renames it, so that the old one stays until the new one is whole.

    Lightning's own copies it from the system's folder for temporary files, over the good file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint atomically. Raises UnwritableTarget if the disk is full or refuses."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # PyTorch hides the error of the disk behind one of its own
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint; never runs code that it holds. Raises DamagedWeights."""
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
            raise DamagedWeights(
                "PyTorch cannot read this checkpoint.",
                where=path,
                cure="Delete it and resume again; if no other checkpoint is left, train without --resume.",
            ) from error

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)
