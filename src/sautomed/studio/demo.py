"""A phantom to try the page on."""

from __future__ import annotations

from pathlib import Path

from sautomed.phantom import write_phantoms

KIND, SEED = "abdomen-ct", 2001  # ours: a phantom that no training has seen


def demo_scan(output: Path) -> Path:
    """Return a phantom's scan in the folder of results; it is made the first time, with its true labels beside it.

    Raises:
        TargetExists: The folder `phantom` in `output` holds other scans.
        UnwritableTarget: `output` cannot be written to.
    """
    folder = output / "phantom"
    if not (folder / "dataset.json").is_file():  # the last file that is written
        write_phantoms(folder, 1, KIND, SEED)
    return folder / "imagesTr" / "phantom_000_0000.nii.gz"
