"""Write a folder of phantoms in nnU-Net's raw layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib

from sautomed.errors import TargetExists, UnknownSetting
from sautomed.phantom.generate import PhantomCase, kind_named, make_phantom
from sautomed.phantom.grid import Array
from sautomed.scans.files import atomic_write, write_json

FILE_ENDING = ".nii.gz"
OnCase = Callable[[int, int, str], None]


def write_phantoms(folder: Path, count: int, kind: str, seed: int, on_case: OnCase | None = None) -> Path:
    """Write cases `phantom_000` and on as `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz` and `dataset.json`.

    Args:
        folder: Made if absent; phantoms of the same names in it are replaced.
        count: Number of cases; case i is the same for every count.
        kind: A key of `KINDS`.
        on_case: Called after each case with (written so far, count, case id).
    Returns:
        The folder.
    Raises:
        UnknownSetting: `kind` is not in `KINDS`, `seed` is negative, or `count` is not positive.
        TargetExists: The folder holds other scans, which would be mixed with the phantoms.
        UnwritableTarget: The folder cannot be written.
    """
    kind_named(kind)
    if count < 1:
        raise UnknownSetting(f"cannot make {count} phantoms.", where="count", cure="Give at least 1.")
    case_ids = [f"phantom_{index:03d}" for index in range(count)]
    _refuse_other_scans(folder, case_ids)
    for done, case_id in enumerate(case_ids, start=1):
        case = make_phantom(kind, seed, done - 1)
        _save(case.image, case, folder / "imagesTr" / f"{case_id}_0000{FILE_ENDING}")
        _save(case.labels, case, folder / "labelsTr" / f"{case_id}{FILE_ENDING}")
        if on_case is not None:
            on_case(done, count, case_id)
    write_json(folder / "dataset.json", _description(count, kind, seed))
    return folder


def _description(count: int, kind: str, seed: int) -> dict[str, object]:
    spec = kind_named(kind)
    return {
        "channel_names": {"0": spec.channel},
        "labels": {"background": 0} | {name: i for i, name in enumerate(spec.labels, start=1)},
        "numTraining": count,
        "file_ending": FILE_ENDING,
        "name": f"phantom-{kind}",
        "description": f"Synthetic, no patient's data: sautomed phantom --kind {kind} --seed {seed} -n {count}",
    }


def _refuse_other_scans(folder: Path, case_ids: list[str]) -> None:
    phantoms = {f"imagesTr/{i}_0000{FILE_ENDING}" for i in case_ids} | {f"labelsTr/{i}{FILE_ENDING}" for i in case_ids}
    for sub in ("imagesTr", "labelsTr"):
        for path in sorted((folder / sub).glob("*")):
            if f"{sub}/{path.name}" not in phantoms and not path.name.startswith("."):
                raise TargetExists(
                    f"holds {sub}/{path.name}, which is not one of the {len(case_ids)} phantoms to be written, and one "
                    "dataset.json cannot describe both.",
                    where=folder,
                    cure="Choose another folder or empty this one.",
                )


def _save(voxels: Array, case: PhantomCase, path: Path) -> None:
    image = nib.Nifti1Image(voxels, case.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(case.affine, code=1)
    image.set_sform(case.affine, code=1)
    with atomic_write(path) as temporary:
        nib.save(image, temporary)
