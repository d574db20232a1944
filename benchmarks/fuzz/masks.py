"""Random masks on the grids of the scans that were read: written, read back and compared.

A mask is written as `sautomed segment` writes it, in any format, and read by sautomed and by another library: nibabel,
SimpleITK, or highdicom and pydicom. Voxels must be equal, the grid must be where it was, and names must be kept where
the format has them. The writer may refuse with an error of ours, but what it has written must be readable.
"""

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz.child import WrongResultError
from fuzz.mask_peers import PEER_READERS, PeerMask
from sautomed.errors import OutputMismatch
from sautomed.scans import LabelMap, ReadOptions, Volume, read_labels
from sautomed.scans.formats import FILE_ENDINGS, LABEL_ENDINGS
from sautomed.scans.grid import corner_gap_mm

POSITION_TOLERANCE = 1e-4  # relative to the largest number of the affine: NIfTI's 32-bit floats
DICOM_TOLERANCE_MM = 1.5  # between the grid and the series' own slices, which are kept: see docs/formats.md
OTHER_ENDINGS = tuple(ending for ending in LABEL_ENDINGS if ending in FILE_ENDINGS)  # they need no series
STEMS = ("mask", "Maske – 肝臓", "a b", "%03d", "x.y.nii", "-o", "é\u0301'\"")
NAMES = (
    *("liver", "right_kidney", "Leber – 肝臓", "", " ", "a\nb", "a\\nb", "a\\", "tab\there", "a:=b", "#", '"quoted"'),
    *("a\\\\b", "\u202eevil", "e\u0301", "x" * 64, "y" * 3000, "a^b=c", "1", "None", "\r", "\x1b[31m", "ß" * 40),
    *("😀", "\udcff", "a\0b", "a\x0bb\x85c\u2028d"),
)


class MaskChangedError(WrongResultError):
    """A mask that was written is not what is read."""

    kind = "mask-changed"


def compare_mask(volume: Volume, folder: Path, rng: random.Random) -> None:
    """Write a random label map on the grid of a scan, read it with two libraries and compare.

    Args:
        folder: For the mask, which stays there if it is a finding.
    Raises:
        MaskChangedError: What is read differs, or cannot be read.
        SautomedError: The writer refused.
    """
    labels = random_labels(volume, rng)
    has_series = type(volume.native.source).__name__ == "DicomSource"
    ending = rng.choice(LABEL_ENDINGS if has_series else OTHER_ENDINGS)
    path = folder / f"{rng.choice(STEMS)}{ending}"
    try:
        labels.save(path)
    except OutputMismatch as error:
        raise MaskChangedError(f"{ending} is not what was written: {error}") from error
    if ending in OTHER_ENDINGS:
        _compare_ours(labels, path, ending)
    with _ignoring_messages():
        found = _read(lambda: PEER_READERS[ending](path, labels.native), ending)
    _compare_peer(labels, found, ending)
    path.unlink()


@contextmanager
def _ignoring_messages() -> Iterator[None]:
    """Drop what another library prints or warns of."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def random_labels(volume: Volume, rng: random.Random) -> LabelMap:
    """Return a label map of boxes or of noise, with up to five values, names for some of them, and perhaps no voxel."""
    highest = rng.choice((3, 255, 255, 65535))
    values = rng.sample(range(1, highest + 1), rng.randint(1, min(highest, 5)))
    array = np.zeros(volume.array.shape, np.uint16)
    numbers = np.random.default_rng(rng.getrandbits(64))
    shape = rng.choice(("boxes", "boxes", "noise", "empty"))
    if shape == "noise" and array.size < 500:  # contours of more would take seconds
        array = numbers.choice(np.array([0, *values], np.uint16), array.shape)
    elif shape != "empty":
        for value in values:
            ends = np.sort(numbers.integers(0, np.array(array.shape) + 1, (2, 3)), axis=0)
            array[tuple(slice(low, high) for low, high in ends.T)] = value
    named = rng.sample(values, rng.randint(0, len(values)))
    names = {value: rng.choice(NAMES) for value in named}
    small = array.astype(np.uint8) if array.max(initial=0) < 256 else array
    return LabelMap(small, volume.affine, volume.native, volume.plane, names)


def _compare_ours(labels: LabelMap, path: Path, ending: str) -> None:
    # The header of the scan may lack an orientation, and is copied.
    again = _read(lambda: read_labels(path, labels.plane, options=ReadOptions(assume_spacing=True)), f"ours {ending}")
    _require_equal(again.array, labels.array, f"ours {ending}")
    _require_close(corner_gap_mm(again.affine, labels.affine, labels.array.shape), labels.affine, f"ours {ending}")


def _compare_peer(labels: LabelMap, found: PeerMask, ending: str) -> None:
    _require_equal(found.voxels, labels.to_native(), f"{ending} {found.reader}")
    native = labels.native
    if found.affine is not None:
        gap_mm = corner_gap_mm(found.affine, native.affine_to_write, native.shape)
        _require_close(gap_mm, native.affine_to_write, f"{ending} {found.reader}")
    if found.gap_mm > DICOM_TOLERANCE_MM:
        raise MaskChangedError(f"{ending} {found.reader} place: a frame lies {found.gap_mm} mm beside its slice")
    if found.names is None:
        return
    occurring = {value: f"label {value}" for value in labels.unknown_values()}
    wanted = {value: found.written_name(name) for value, name in (labels.names | occurring).items()}
    if found.names != wanted and (wanted or found.names != {1: "label 1"}):  # DICOM has one segment at least
        raise MaskChangedError(f"{ending} {found.reader} names: {found.names!a} instead of {wanted!a}")


def _read(read: Callable[[], Any], who: str) -> Any:
    try:
        return read()
    except WrongResultError:
        raise
    except Exception as error:
        raise MaskChangedError(f"{who} cannot read it, {type(error).__name__}: {error}") from error


def _require_equal(found: NDArray[Any], wanted: NDArray[Any], who: str) -> None:
    if found.shape != wanted.shape:
        raise MaskChangedError(f"{who} shape: {found.shape} instead of {wanted.shape}")
    if found.dtype.kind != "u" or not np.array_equal(found, wanted):
        raise MaskChangedError(f"{who} voxels: {int((found != wanted).sum())} differ, {found.dtype}")


def _require_close(gap_mm: float, affine: NDArray[np.float64], who: str) -> None:
    if not gap_mm <= POSITION_TOLERANCE * np.abs(affine).max():
        raise MaskChangedError(f"{who} grid: a corner moves by {gap_mm} mm")
