"""A folder of phantoms in nnU-Net's raw layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from sautomed.datasets.phantom.generate import KINDS, PhantomCase, make_phantom

FILE_ENDING = ".nii.gz"


def write_phantoms(
    folder: Path, count: int, kind: str, seed: int, on_case: Callable[[int, int, str], None] | None = None
) -> Path:
    """Write cases `phantom_000` and on as `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz` and `dataset.json`.

    Args:
        count: How many; case i is the same whatever the count.
        kind: A key of `KINDS`.
        on_case: Called after each case with (written so far, count, case id).
    Returns:
        The folder.
    """
    spec = KINDS[kind]
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        case_id = f"phantom_{index:03d}"
        case = make_phantom(kind, seed, index)
        _save(case.image, case, folder / "imagesTr" / f"{case_id}_0000{FILE_ENDING}")
        _save(case.labels, case, folder / "labelsTr" / f"{case_id}{FILE_ENDING}")
        if on_case is not None:
            on_case(index + 1, count, case_id)
    labels = {"background": 0} | {name: i for i, name in enumerate(spec.labels, start=1)}
    description = {
        "channel_names": {"0": spec.channel},
        "labels": labels,
        "numTraining": count,
        "file_ending": FILE_ENDING,
        "name": f"phantom-{kind}",
        "description": f"Made by sautomed phantom --kind {kind} --seed {seed}: synthetic, no patient's data.",
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n")
    return folder


def _save(voxels: np.ndarray, case: PhantomCase, path: Path) -> None:
    image = nib.Nifti1Image(voxels, case.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(case.affine, code=1)
    image.set_sform(case.affine, code=1)
    nib.save(image, path)
