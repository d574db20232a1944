"""Who reads the inputs of `fuzz_io.py`: the doors of sautomed, and for comparison the plain libraries.

Each returns what was read, as something that can be compared with what the unchanged input gives, or raises.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from fuzz.child import WrongResultError
from fuzz.seeds import Seed
from sautomed.errors import SautomedError

MESSAGE_LIMIT = 4000
PLACE_TOLERANCE = 1e-4  # of the largest number of the affine: NIfTI's 32-bit floats


@dataclass(frozen=True)
class Reading:
    """What came out.

    Args:
        outcome: "read", or the id of the fault.
        digest: Of voxels and affine; empty unless they were read.
        warned: Whether the reader said that something is odd.
    """

    outcome: str
    digest: str = ""
    warned: bool = False


def read_by_us(place: Path, seed: Seed, options: dict[str, Any], rng: random.Random) -> Reading:
    """Read by every door; a fault with a name is an outcome, anything else is raised."""
    path = place / seed.target if seed.target else place
    doors = {"scan": _every_door, "dicom": _one_door}.get(seed.door)
    if doors is not None:
        return doors(path, options, rng)
    return _asked(lambda: Reading("read", _digest(_other_door(seed.door, path))))


def _every_door(path: Path, options: dict[str, Any], rng: random.Random) -> Reading:
    from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored

    chosen = ReadOptions(**options)
    header = _asked(lambda: _described(read_geometry(path, chosen)))
    stored = _asked(lambda: _held(read_stored(path, chosen)))
    if header.outcome != "read" and stored.outcome == "read":
        raise WrongResultError(f"read_geometry refuses ({header.outcome}) what read_stored reads")
    _asked(lambda: _volume(read_scan(path, options=chosen)))
    _asked(lambda: _volume(read_labels(path, options=chosen)))
    if stored.outcome == "read" and rng.random() < 0.15:
        _asked(lambda: _converted(path, chosen, rng))
    return stored


def _one_door(path: Path, options: dict[str, Any], rng: random.Random) -> Reading:
    """DICOM takes ten times as long, and its doors differ little: one of them, by chance."""
    from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored
    from sautomed.scans.dicom import series_table

    chosen = ReadOptions(**options)
    doors: tuple[Callable[[], Reading], ...] = (
        lambda: _held(read_stored(path, chosen)),
        lambda: _held(read_stored(path, chosen)),
        lambda: _volume(read_scan(path, options=chosen)),
        lambda: _volume(read_labels(path, options=chosen)),
        lambda: _described(read_geometry(path, chosen)),
        lambda: _listed(series_table(path, resample=chosen.resample)),
        lambda: _converted(path, chosen, rng),
    )
    return _asked(rng.choice(doors) if chosen != ReadOptions() else doors[0])


def _listed(rows: Sequence[Any]) -> Reading:
    if not all(str(row).isprintable() for row in rows):
        raise WrongResultError(f"a series table that is not fit to be shown: {[str(row) for row in rows]!a}")
    return Reading("read", warned=True)


def _asked(door: Callable[[], Reading]) -> Reading:
    """The reading, or the id of the fault, whose message must be fit to be shown."""
    try:
        return door()
    except SautomedError as fault:
        told = str(fault)
        if not fault.cure or not fault.where or len(told) > MESSAGE_LIMIT or not told.replace("\n", "").isprintable():
            raise WrongResultError(f"{fault.id} has a message that is not fit to be shown: {told[:200]!a}") from fault
        return Reading(f"{type(fault).__name__}")


def _described(geometry: Any) -> Reading:
    if not np.isfinite(geometry.affine).all() or min(geometry.shape) < 1:
        raise WrongResultError(f"a geometry of {geometry.shape}, {geometry.affine.tolist()}")
    if any(not note.replace("\n", "").isprintable() or len(note) > MESSAGE_LIMIT for note in geometry.warnings):
        raise WrongResultError(f"a warning that is not fit to be shown: {geometry.warnings!a}")
    return Reading("read", warned=bool(geometry.warnings))


def _held(stored: Any) -> Reading:
    if stored.voxels.shape != stored.geometry.shape:
        raise WrongResultError(f"voxels of {stored.voxels.shape} in a geometry of {stored.geometry.shape}")
    found = _described(stored.geometry)
    return Reading("read", _digest(stored.voxels, stored.geometry.affine), found.warned)


def _volume(volume: Any) -> Reading:
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise WrongResultError("a scan that is not finite")
    return Reading("read", warned=True)


def _converted(path: Path, options: Any, rng: random.Random) -> Reading:
    """Write what is read, and read it again: it must lie where it lay."""
    from sautomed.cli.convert import convert
    from sautomed.scans import ReadOptions, read_geometry
    from sautomed.scans.grid import corner_gap_mm

    target = path.parent / f"converted{rng.choice(('.nii', '.nii.gz', '.nrrd', '.mha', '.seg.nrrd'))}"
    try:
        source = convert(path, target, options, overwrite=True)
        if not target.name.endswith(".seg.nrrd"):
            written = read_geometry(target, ReadOptions(assume_spacing=True))  # as silent as its source may be
            gap_mm = corner_gap_mm(source.affine, written.affine, source.shape)
            if written.shape != source.shape or gap_mm > PLACE_TOLERANCE * np.abs(source.affine).max():
                raise WrongResultError(f"{source.shape} becomes {written.shape}, and a corner moves by {gap_mm} mm")
    except SautomedError as fault:
        if fault.where == str(target):
            raise WrongResultError(f"what was written cannot be read: {fault}") from fault
        raise
    finally:
        target.unlink(missing_ok=True)
    return Reading("read", warned=True)


def _other_door(door: str, path: Path) -> Any:
    if door == "dataset":
        from sautomed.datasets import read_dataset

        dataset = read_dataset(path, "nnunet-raw")
        return _letters((dataset.labels, [case.id for case in dataset.cases]))
    if door == "splits":
        from sautomed.datasets.folds import load_or_make_folds

        return _letters(load_or_make_folds(path, ["a", "b", "c"]))
    if door == "picture":
        from sautomed.datasets.chaos.pictures import labels_of_grays, read_label_pictures

        table = labels_of_grays({1: (55, 70), 2: (110, 135), 3: (175, 200)})
        return read_label_pictures([path], (8, 9), table, {1: "liver", 2: "right kidney", 3: "left kidney"})
    from sautomed.datasets.transunet.arrays import read_array

    return read_array(path, "image")


def _letters(value: Any) -> Any:
    return np.frombuffer(repr(value).encode("utf-8", "backslashreplace"), np.uint8)


def _digest(*arrays: Any) -> str:
    return hashlib.sha1(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def documented_faults(peer: str) -> tuple[type[BaseException], ...]:
    """What a library says that it raises, widely understood."""
    if peer == "nibabel":
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError

        return (ImageFileError, HeaderDataError, OSError, EOFError)
    if peer == "pydicom":
        from pydicom.errors import InvalidDicomError

        return (InvalidDicomError, TypeError, ValueError, AttributeError, RuntimeError, BadZipFile)
    return {
        "SimpleITK": (RuntimeError,),
        "Pillow": (OSError, ValueError, TypeError),
        "numpy": (OSError, EOFError, ValueError, KeyError, BadZipFile),
        "h5py": (OSError, ValueError, KeyError),
    }[peer]


def read_by_peer(place: Path, seed: Seed, options: dict[str, Any], rng: random.Random) -> Reading:
    """Read voxels and geometry as the library's own introduction does."""
    path = place / seed.target if seed.target else place
    readers = {
        "nibabel": _nibabel,
        "SimpleITK": _simple_itk,
        "pydicom": _pydicom,
        "Pillow": _pillow,
        "numpy": _numpy,
        "h5py": _h5py,
    }
    try:
        return Reading("read", _digest(*readers[seed.peer](path)))
    except documented_faults(seed.peer) as fault:
        return Reading(type(fault).__name__)


def _nibabel(path: Path) -> tuple[Any, ...]:
    import nibabel

    image = nibabel.load(path)
    return np.asanyarray(image.dataobj), image.affine


def _simple_itk(path: Path) -> tuple[Any, ...]:
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    geometry = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    return SimpleITK.GetArrayFromImage(image), np.array(geometry)


def _pydicom(path: Path) -> tuple[Any, ...]:
    """One stack, its files ordered by position."""
    import io

    import pydicom

    if path.suffix == ".zip":
        with ZipFile(path) as archive:
            sources: list[Any] = [io.BytesIO(archive.read(name)) for name in archive.namelist()]
    else:
        sources = sorted(path.iterdir()) if path.is_dir() else [path]
    datasets = [pydicom.dcmread(source) for source in sources]
    if len(datasets) > 1:
        datasets.sort(key=_height)
    return np.stack([dataset.pixel_array for dataset in datasets]), np.array(len(datasets))


def _height(dataset: Any) -> float:
    _, _, height = dataset.ImagePositionPatient
    return float(height)


def _pillow(path: Path) -> tuple[Any, ...]:
    from PIL import Image

    with Image.open(path) as picture:
        return (np.asarray(picture),)


def _numpy(path: Path) -> tuple[Any, ...]:
    with np.load(path, allow_pickle=False) as archive:
        return (archive["image"],)


def _h5py(path: Path) -> tuple[Any, ...]:
    import h5py

    with h5py.File(path) as file:
        return (file["image"][()],)
