"""Readers of the inputs of `fuzz_io.py`: those of sautomed, and for comparison the plain libraries.

Each returns a Reading, which can be compared with that of the unchanged input, or raises.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from fuzz.child import WrongResultError
from fuzz.masks import POSITION_TOLERANCE, compare_mask
from fuzz.seeds import Seed
from sautomed.errors import SautomedError

MESSAGE_LIMIT = 4000
CONVERTED = 0.15  # share of scans that are converted, too
MASKED = {"scan": 0.2, "dicom": 0.04}  # share with a mask that is compared; one of DICOM takes a tenth of a second


@dataclass(frozen=True)
class Reading:
    """Result of a reader.

    Args:
        outcome: "read", or the class of the error.
        digest: Hash of voxels and affine; empty if they were not read.
        warned: Whether the reader gave a warning.
        mask: Of a mask on the scan's grid: "compared", the class of the error with which it was not written, or "".
    """

    outcome: str
    digest: str = ""
    warned: bool = False
    mask: str = ""


def read_by_us(folder: Path, seed: Seed, options: dict[str, Any], rng: random.Random) -> Reading:
    """Read with the functions of sautomed; its errors are an outcome, anything else is raised."""
    path = folder / seed.target if seed.target else folder
    read = {"scan": _every_reader, "dicom": _one_reader}.get(seed.kind)
    if read is not None:
        return read(path, options, rng)
    return _outcome(lambda: Reading("read", _digest(_read_other(seed.kind, path))))


def _every_reader(path: Path, options: dict[str, Any], rng: random.Random) -> Reading:
    from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored

    chosen = ReadOptions(**options)
    header = _outcome(lambda: _geometry(read_geometry(path, chosen)))
    stored = _outcome(lambda: _stored(read_stored(path, chosen)))
    if header.outcome != "read" and stored.outcome == "read":
        raise WrongResultError(f"read_geometry refuses ({header.outcome}) what read_stored reads")
    _outcome(lambda: _volume(read_scan(path, options=chosen)))
    _outcome(lambda: _volume(read_labels(path, options=chosen)))
    if stored.outcome == "read" and rng.random() < CONVERTED:
        _outcome(lambda: _converted(path, chosen, rng))
    if stored.outcome == "read" and rng.random() < MASKED["scan"]:
        return replace(stored, mask=_masked(path, chosen, rng))
    return stored


def _one_reader(path: Path, options: dict[str, Any], rng: random.Random) -> Reading:
    """Read with one function at random: DICOM takes ten times as long, and its functions differ little."""
    from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored
    from sautomed.scans.dicom import series_table

    chosen = ReadOptions(**options)
    readers: tuple[Callable[[], Reading], ...] = (
        lambda: _stored(read_stored(path, chosen)),
        lambda: _stored(read_stored(path, chosen)),
        lambda: _volume(read_scan(path, options=chosen)),
        lambda: _volume(read_labels(path, options=chosen)),
        lambda: _geometry(read_geometry(path, chosen)),
        lambda: _series_rows(series_table(path, resample=chosen.resample)),
        lambda: _converted(path, chosen, rng),
    )
    reading = _outcome(rng.choice(readers) if chosen != ReadOptions() else readers[0])
    if reading.outcome == "read" and rng.random() < MASKED["dicom"]:
        return replace(reading, mask=_masked(path, chosen, rng))
    return reading


def _series_rows(rows: Sequence[Any]) -> Reading:
    if not all(str(row).isprintable() for row in rows):
        raise WrongResultError(f"an unprintable series table: {[str(row) for row in rows]!a}")
    return Reading("read", warned=True)


def _outcome(read: Callable[[], Reading]) -> Reading:
    """Return the reading, or the class of the error, whose message must be complete and printable."""
    try:
        return read()
    except SautomedError as error:
        text = str(error)
        if not error.cure or not error.where or len(text) > MESSAGE_LIMIT or not text.replace("\n", "").isprintable():
            raise WrongResultError(f"{error.id} has an incomplete or unprintable message: {text[:200]!a}") from error
        return Reading(type(error).__name__)


def _geometry(geometry: Any) -> Reading:
    if not np.isfinite(geometry.affine).all() or min(geometry.shape) < 1:
        raise WrongResultError(f"a geometry of {geometry.shape}, {geometry.affine.tolist()}")
    if any(not note.replace("\n", "").isprintable() or len(note) > MESSAGE_LIMIT for note in geometry.warnings):
        raise WrongResultError(f"an unprintable warning: {geometry.warnings!a}")
    return Reading("read", warned=bool(geometry.warnings))


def _stored(stored: Any) -> Reading:
    if stored.voxels.shape != stored.geometry.shape:
        raise WrongResultError(f"voxels of {stored.voxels.shape} in a geometry of {stored.geometry.shape}")
    warned = _geometry(stored.geometry).warned
    return Reading("read", _digest(stored.voxels, stored.geometry.affine), warned)


def _volume(volume: Any) -> Reading:
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise WrongResultError("a scan that is not finite")
    return Reading("read", warned=True)


def _converted(path: Path, options: Any, rng: random.Random) -> Reading:
    """Convert the scan and read it again: its position must not change."""
    from sautomed.cli.convert import convert_file
    from sautomed.scans import ReadOptions, read_geometry
    from sautomed.scans.formats import IMAGE_ENDINGS
    from sautomed.scans.grid import corner_gap_mm

    target = path.parent / f"converted{rng.choice((*IMAGE_ENDINGS, '.seg.nrrd'))}"
    try:
        source = convert_file(path, target, options, overwrite=True)
        if not target.name.endswith(".seg.nrrd"):
            written = read_geometry(target, ReadOptions(assume_spacing=True))  # the source may lack one too
            gap_mm = corner_gap_mm(source.affine, written.affine, source.shape)
            if written.shape != source.shape or gap_mm > POSITION_TOLERANCE * np.abs(source.affine).max():
                raise WrongResultError(f"{source.shape} becomes {written.shape}, and a corner moves by {gap_mm} mm")
    except SautomedError as error:
        if error.where == str(target):
            raise WrongResultError(f"the written file cannot be read: {error}") from error
        raise
    finally:
        target.unlink(missing_ok=True)
    return Reading("read", warned=True)


def _masked(path: Path, options: Any, rng: random.Random) -> str:
    """Read the scan, and write, read and compare a mask on its grid; return what `Reading.mask` says."""
    from sautomed.scans import read_scan

    try:
        volume = read_scan(path, options=options)
    except SautomedError:  # its voxels are not those of a scan
        return ""

    def compared() -> Reading:
        compare_mask(volume, path.parent, rng)
        return Reading("compared")

    return _outcome(compared).outcome


def _read_other(kind: str, path: Path) -> Any:
    if kind == "dataset":
        from sautomed.datasets import read_dataset

        dataset = read_dataset(path, "nnunet-raw")
        return _as_array((dataset.labels, [case.id for case in dataset.cases]))
    if kind == "splits":
        from sautomed.datasets.folds import load_or_make_folds

        return _as_array(load_or_make_folds(path, ["a", "b", "c"]))
    if kind == "picture":
        from sautomed.datasets.chaos.pictures import labels_of_grays, read_label_pictures

        table = labels_of_grays({1: (55, 70), 2: (110, 135), 3: (175, 200)})
        return read_label_pictures([path], (8, 9), table, {1: "liver", 2: "right kidney", 3: "left kidney"})
    from sautomed.datasets.transunet.arrays import read_array

    return read_array(path, "image")


def _as_array(value: Any) -> Any:
    return np.frombuffer(repr(value).encode("utf-8", "backslashreplace"), np.uint8)


def _digest(*arrays: Any) -> str:
    return hashlib.sha1(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def documented_errors(peer: str) -> tuple[type[BaseException], ...]:
    """Return the exceptions that a library documents, generously."""
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


def read_by_peer(folder: Path, seed: Seed, options: dict[str, Any], rng: random.Random) -> Reading:
    """Read voxels and geometry as in the library's own introduction."""
    path = folder / seed.target if seed.target else folder
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
    except documented_errors(seed.peer) as error:
        return Reading(type(error).__name__)


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
    """Read one stack, its files ordered by position."""
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
