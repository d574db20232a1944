"""A small dataset in nnU-Net's raw layout for tests to damage: abdomens of four blocks in anatomical places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from sautomed.scans import read_labels

LABELS = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
SHAPE = (40, 32, 12)
SPACING = (8.0, 8.0, 10.0)
# Organs in voxels of RAS: x grows to the patient's right, y to the front, z to the head.
_BLOCKS = {
    1: (slice(26, 36), slice(12, 24), slice(6, 11)),
    2: (slice(25, 29), slice(6, 10), slice(1, 5)),
    3: (slice(11, 15), slice(6, 10), slice(1, 5)),
    4: (slice(5, 9), slice(8, 13), slice(6, 10)),
}


def affine(spacing=SPACING) -> np.ndarray:
    """Return an affine to RAS mm with the patient's middle at 0."""
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = -(np.array(SHAPE) - 1) / 2 * np.array(spacing)
    return matrix


def organs(case: int = 0) -> np.ndarray:
    """Return the four blocks, and one voxel that differs between cases."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, block in _BLOCKS.items():
        labels[block] = value
    labels[30, 25, case] = LABELS["liver"]
    return labels


def scan(seed: int, ct: bool = True) -> np.ndarray:
    """Return a body in air with brighter organs, in Hounsfield units or in arbitrary units from 0."""
    rng = np.random.default_rng(seed)
    body = np.zeros(SHAPE, bool)
    body[3:-3, 3:-3] = True
    image = np.where(body, 40 + 20.0 * organs(), -1000) + rng.normal(0, 5, SHAPE)
    return np.rint(image if ct else np.maximum(image + 1000, 0)).astype(np.int16)


class BlockDataset:
    """A dataset on disk; tests rewrite a case to damage it."""

    def __init__(self, folder: Path, count: int = 5, channel: str = "CT", labels: dict[str, int] | None = None):
        self.folder, self.count = folder, count
        for number in range(count):
            self.write_image(number, scan(number, channel == "CT"))
            self.write_label(number, organs(number))
        self.describe(channel, labels or LABELS)

    def describe(self, channel: str = "CT", labels: dict[str, int] = LABELS) -> None:
        description = {
            "channel_names": {"0": channel},
            "labels": {"background": 0, **labels},
            "numTraining": self.count,
            "file_ending": ".nii.gz",
        }
        (self.folder / "dataset.json").write_text(json.dumps(description))

    def image(self, number: int) -> Path:
        return self.folder / "imagesTr" / f"case_{number}_0000.nii.gz"

    def label(self, number: int) -> Path:
        return self.folder / "labelsTr" / f"case_{number}.nii.gz"

    def write_image(self, number: int, array: np.ndarray, matrix: np.ndarray | None = None, sform=None) -> None:
        self._write(self.image(number), array, matrix, sform)

    def write_label(self, number: int, array: np.ndarray, matrix: np.ndarray | None = None) -> None:
        self._write(self.label(number), array, matrix, None)

    def name_labels(self, number: int, array: np.ndarray, names: dict[int, str]) -> None:
        """Write a label map whose header names its values."""
        self.write_label(number, array)
        replace(read_labels(self.label(number)), names=names).save(self.label(number))

    def files(self) -> dict[str, bytes]:
        """Return every file of the dataset with its bytes."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    @staticmethod
    def _write(path: Path, array: np.ndarray, matrix: np.ndarray | None, sform) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(array, affine() if matrix is None else matrix)
        image.header.set_xyzt_units("mm")
        image.set_qform(image.affine, code=1)
        image.set_sform(image.affine if sform is None else sform, code=1)
        nibabel.save(image, path)
