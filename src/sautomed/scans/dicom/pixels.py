"""The voxels of a stack: decoded slice by slice into one array, and scaled to intensities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from sautomed.errors import MemoryShortage, TruncatedFile, UnsupportedVoxels
from sautomed.scans.dicom.damage import RENEW, printable, translated
from sautomed.scans.dicom.decoders import ImageDecoder
from sautomed.scans.dicom.deflated import inflated
from sautomed.scans.dicom.header import FileHeader, Slice
from sautomed.scans.dicom.place import Place
from sautomed.scans.dicom.tags import uid_of
from sautomed.scans.payload import CUT_SHORT

_TAGS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SOPClassUID"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32)


def predicted_type(slices: tuple[Slice, ...]) -> np.dtype[Any]:
    """The smallest type that holds every intensity that the headers allow: whole numbers stay whole."""
    bounds = [_bounds(item) for item in slices]
    if any(found is None for found in bounds):
        return np.dtype(np.float32)
    low = min(found[0] for found in bounds if found)
    high = max(found[1] for found in bounds if found)
    fitting = [kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return np.dtype(fitting[0] if fitting else np.float32)


def read_voxels(place: Place, slices: tuple[Slice, ...]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Decode and scale slices.

    Args:
        place: Where their files are.
        slices: In the order of the array.
    Returns:
        (slices rows columns) of an integer type or float32, and warnings. The type is `predicted_type`'s, or int16 if
        that holds what there really is.
    Raises:
        TruncatedFile, DamagedDicom, UnsupportedVoxels, MemoryShortage; what the system cannot read as in `translated`.
    """
    where = place.path
    header = slices[0].file
    kind = predicted_type(slices)
    shape = (len(slices), header.rows or 0, header.columns or 0)
    voxels = _room(shape, np.dtype(np.int16) if kind == np.int32 else kind, where)
    padded = 0
    with place.reading() as reader, ImageDecoder() as decoder:
        for file, wanted in _by_file(slices).items():
            member = wanted[0][1].file
            with reader.open(file) as stream:
                for (index, item), stored in zip(wanted, _decoded(stream, member, wanted, decoder, where), strict=True):
                    padded += 0 if member.padding is None else int(np.count_nonzero(stored == member.padding))
                    scaled = _scaled(stored, item, kind, where)
                    if voxels.dtype != kind and not _fits(scaled, voxels.dtype):
                        voxels = _widened(voxels, kind, where)
                    voxels[index] = scaled
    return voxels, _notes(slices, padded, voxels.size, where)


def _bounds(item: Slice) -> tuple[float, float] | None:
    """The least and the largest intensity that a slice may hold; None if they are no whole numbers."""
    header = item.file
    if header.bits_stored is None or item.slope != int(item.slope) or item.intercept != int(item.intercept):
        return None
    count = 2**header.bits_stored
    stored = (-count // 2, count // 2 - 1) if header.signed else (0, count - 1)
    ends = sorted(value * item.slope + item.intercept for value in stored)
    return ends[0], ends[1]


def _room(shape: tuple[int, int, int], kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    try:
        return np.empty(shape, kind)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        wanted = np.prod(np.array(shape, dtype=np.float64)) * kind.itemsize
        raise MemoryShortage(
            f"needs {wanted / 1e9:.1f} GB of memory for its voxels alone.", where=where, cure="Use a larger machine."
        ) from error


def _widened(voxels: NDArray[Any], kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    depth, rows, columns = voxels.shape
    wider = _room((depth, rows, columns), kind, where)
    wider[...] = voxels
    return wider


def _by_file(slices: tuple[Slice, ...]) -> dict[str, list[tuple[int, Slice]]]:
    """The slices that each file holds, with their places in the array; each file is opened once."""
    found: dict[str, list[tuple[int, Slice]]] = defaultdict(list)
    for index, item in enumerate(slices):
        found[item.file.member].append((index, item))
    return found


def _decoded(
    stream: BinaryIO, header: FileHeader, wanted: list[tuple[int, Slice]], decoder: ImageDecoder, where: Path
) -> Iterator[NDArray[Any]]:
    """The stored numbers (rows columns) of each wanted slice of one file."""
    with translated(where, header.member, "cannot be read again"):
        dataset = _with_pixels(stream, header)
        content = next((dataset[name].value for name in _PIXELS if name in dataset), None)
        syntax = uid_of(dataset.file_meta.TransferSyntaxUID)  # several, from a hostile file, are no text
    named = f"has pixels that cannot be decoded, compressed as {printable(syntax.name)}"
    with translated(where, header.member, named):
        packed = syntax.is_encapsulated
    _require_whole(content, header, where, packed=packed)
    for _, item in wanted:
        with translated(where, header.member, named):
            stored = decoder.decode(dataset, item.frame or 0, header, syntax)
        yield stored


def _with_pixels(stream: BinaryIO, header: FileHeader) -> Dataset:
    """The pixels of a file and what is needed to decode them."""
    plain = inflated(stream)
    dataset = pydicom.dcmread(plain or stream, force=True, specific_tags=list(_TAGS))
    if "file_meta" not in dataset.__dict__:
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid_of(ExplicitVRLittleEndian if plain else header.syntax)
    if header.bits_stored is None and "PixelData" in dataset:
        raise ValueError("BitsStored is missing")
    return dataset


def _require_whole(content: Any, header: FileHeader, where: Path, *, packed: bool) -> None:
    """Refuse pixel data that is absent, or shorter than the header promises."""
    if content is None or len(content) == 0:
        raise TruncatedFile(f"is truncated: {header.member} has no pixels.", where=where, cure=CUT_SHORT)
    promised = (header.rows or 0) * (header.columns or 0) * header.frames * (header.bits_allocated or 0) // 8
    if packed or len(content) >= promised:
        return
    raise TruncatedFile(
        f"is truncated: {header.member} promises {promised} bytes of pixels, but holds {len(content)}.",
        where=where,
        cure=CUT_SHORT,
    )


def _scaled(stored: NDArray[Any], item: Slice, kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    """Intensities of a slice."""
    if item.slope == 0:
        raise UnsupportedVoxels(
            f"has a RescaleSlope of 0 ({item.name}), which makes every voxel the same.", where=where, cure=RENEW
        )
    if (item.slope, item.intercept) == (1.0, 0.0):
        return stored
    if kind.kind == "f":
        return (stored.astype(np.float64) * item.slope + item.intercept).astype(np.float32)
    return stored.astype(np.int64) * int(item.slope) + int(item.intercept)


def _fits(scaled: NDArray[Any], kind: np.dtype[Any]) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= scaled.min() and scaled.max() <= limits.max)


def _notes(slices: tuple[Slice, ...], padded: int, size: int, where: Path) -> tuple[str, ...]:
    first = slices[0]
    notes = []
    if padded:
        value = (first.file.padding or 0.0) * first.slope + first.intercept
        notes.append(
            f"{where}: {padded} of {size} voxels ({padded / size:.1%}) lie outside of what was scanned and hold the "
            f"padding value {value:g}; they are kept."
        )
    if any(item.file.photometric == "MONOCHROME1" for item in slices):
        notes.append(f"{where}: is meant to be shown inverted (MONOCHROME1); the intensities are taken as they are.")
    if first.file.modality == "CT" and not all(item.rescaled for item in slices):
        notes.append(f"{where}: is CT without a rescale to HU; the stored values are taken for HU.")
    return tuple(notes)
