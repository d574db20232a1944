"""Generate one phantom case: a patient, its position in the scanner, a scan with labels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sautomed.errors import UnknownSetting
from sautomed.phantom.grid import Array, Lattice, Pose, make_grid
from sautomed.phantom.parts import Variation
from sautomed.phantom.patient import make_patient
from sautomed.phantom.render import SUB_SLICES, paint
from sautomed.phantom.scanner import scan_ct, scan_mr
from sautomed.phantom.shapes import rotation
from sautomed.phantom.tissues import CT, CT_UNENHANCED, MR, Brightness

ORIENTATIONS = ("LAS", "RAS", "LPS")  # of the file's axes


@dataclass(frozen=True)
class Kind:
    """A field of view of one modality, with the labels of the public dataset that it imitates."""

    channel: str
    labels: tuple[str, ...]  # name i is label i + 1
    brightness: dict[str, Brightness]
    scan: Callable[[Array, Lattice, Variation], Array]
    bottom_mm: tuple[float, float]  # range of the lowest slice's z in the reference patient
    extent_mm: tuple[float, float]
    thickness_mm: tuple[float, float]
    pixel_mm: tuple[float, float]


@dataclass(frozen=True)
class PhantomCase:
    """A scan with its labels, in the file's axis order (i, j, k), as nibabel has it.

    `affine` takes (i, j, k) to RAS mm; `names` is the structure of each label.
    """

    image: Array  # (i, j, k) int16
    labels: Array  # (i, j, k) uint8
    affine: Array  # (4, 4)
    spacing_mm: tuple[float, float, float]  # i, j, k
    names: dict[int, str]
    channel: str


# BTCV's 13 structures in the order of its raw ids.
_ABDOMEN_CT = Kind(
    channel="CT",
    labels=(
        "spleen", "right_kidney", "left_kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
        "inferior_vena_cava", "portal_and_splenic_vein", "pancreas", "right_adrenal_gland", "left_adrenal_gland",
    ),
    brightness=CT, scan=scan_ct,
    bottom_mm=(-115, -95), extent_mm=(225, 260), thickness_mm=(6.0, 8.0), pixel_mm=(2.1, 2.4),
)  # fmt: skip

KINDS: dict[str, Kind] = {
    "abdomen-ct": _ABDOMEN_CT,
    # Organs of nearly equal brightness: whether a system can do with little contrast.
    "abdomen-ct-unenhanced": replace(_ABDOMEN_CT, brightness=CT_UNENHANCED),
    # CHAOS, its T2-SPIR series.
    "abdomen-mr": Kind(
        channel="T2-SPIR",
        labels=("liver", "right_kidney", "left_kidney", "spleen"),
        brightness=MR, scan=scan_mr,
        bottom_mm=(-135, -100), extent_mm=(215, 255), thickness_mm=(6.5, 9.0), pixel_mm=(2.0, 2.4),
    ),
    # SegTHOR.
    "thorax-ct": Kind(
        channel="CT",
        labels=("esophagus", "heart", "trachea", "aorta"),
        brightness=CT, scan=scan_ct,
        bottom_mm=(40, 70), extent_mm=(220, 255), thickness_mm=(6.0, 8.0), pixel_mm=(2.3, 2.6),
    ),
}  # fmt: skip


def kind_named(name: str) -> Kind:
    """Return the row of `KINDS`.

    Raises:
        UnknownSetting: There is no such kind.
    """
    if name not in KINDS:
        raise UnknownSetting(
            f"there is no phantom kind {name!r}.", where="kind", cure=f"Use one of {', '.join(KINDS)}."
        )
    return KINDS[name]


def make_phantom(kind: str, seed: int, index: int = 0) -> PhantomCase:
    """Make case `index` of the series given by `kind` and `seed`; the same on every call.

    Raises:
        UnknownSetting: `kind` is not in `KINDS`, or `seed` or `index` is negative.
    """
    spec = kind_named(kind)
    if seed < 0 or index < 0:
        raise UnknownSetting(
            f"seed {seed}, index {index}: neither may be negative.", where="seed", cure="Use 0 or more."
        )
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, index])
    vary = Variation(rng)
    parts = make_patient(vary)
    pose, lattice = _place(spec, vary)
    grid = make_grid(lattice.refined(SUB_SLICES), pose, rng)
    labels = {name: i for i, name in enumerate(spec.labels, start=1)}
    clean, truth = paint(parts, grid, spec.brightness, labels, rng)
    image = spec.scan(clean, lattice, vary)
    return _to_file_axes(image, truth, lattice, spec, ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))])


def _place(spec: Kind, vary: Variation) -> tuple[Pose, Lattice]:
    """Draw the pose of the patient and the voxels of the scanner."""
    scale = np.array(vary.sizes((1, 1, 1), 0.045))
    turn = rotation((vary.around(0, 1.5), vary.around(0, 1.5), vary.around(0, 3)))
    pose = Pose(scale, turn, np.array(vary.near((0, 0, 0), 6)))
    thick = round(vary.between(*spec.thickness_mm), 1)
    slices = int(np.clip(round(vary.between(*spec.extent_mm) / thick), 24, 40))
    side = int(vary.rng.integers(152, 169))
    pixel = round(vary.between(*spec.pixel_mm), 2)
    y, x = (vary.around(middle, 5) - pixel * (side - 1) / 2 for middle in (22, 0))
    return pose, Lattice((slices, side, side), (thick, pixel, pixel), (vary.between(*spec.bottom_mm), y, x))


def _to_file_axes(image: Array, truth: Array, lattice: Lattice, spec: Kind, codes: str) -> PhantomCase:
    """Turn arrays (s, r, c) to axes (i, j, k) with the orientation `codes`, such as "LAS"."""
    spacing = lattice.spacing_mm[::-1]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = lattice.origin_mm[::-1]
    arrays = [a.transpose(2, 1, 0) for a in (image, truth)]
    for axis, (code, positive) in enumerate(zip(codes, "RAS", strict=True)):
        if code != positive:
            arrays = [np.flip(a, axis) for a in arrays]
            affine[:3, 3] += affine[:3, axis] * (arrays[0].shape[axis] - 1)
            affine[:3, axis] *= -1
    scan, labels = (np.ascontiguousarray(a) for a in arrays)
    return PhantomCase(scan, labels, affine, spacing, dict(enumerate(spec.labels, start=1)), spec.channel)
