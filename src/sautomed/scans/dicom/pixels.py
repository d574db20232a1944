"""Read the voxels of a stack: decode slice by slice into one array, and rescale to intensities."""

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
from sautomed.scans.dicom.container import Container
from sautomed.scans.dicom.damage import EXPORT_AGAIN, printable, translate_errors
from sautomed.scans.dicom.decoders import ImageDecoder
from sautomed.scans.dicom.deflated import inflate
from sautomed.scans.dicom.header import FileHeader, Slice
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
    """Return the smallest type that holds every intensity the headers allow; an integer type if they are integers."""
    ranges = [_intensity_range(item) for item in slices]
    if any(limits is None for limits in ranges):
        return np.dtype(np.float32)
    low = min(limits[0] for limits in ranges if limits)
    high = max(limits[1] for limits in ranges if limits)
    fitting = [kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return np.dtype(fitting[0] if fitting else np.float32)


def read_voxels(container: Container, slices: tuple[Slice, ...]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Decode and rescale slices.

    Args:
        container: The folder, zip or file with their files.
        slices: In the order of the array.
    Returns:
        Intensities (slices rows columns) of an integer type or float32, and warnings. The type is `predicted_type`, but
        int16 instead of int32 if the intensities fit.
    Raises:
        TruncatedFile, DamagedDicom: A file cannot be decoded.
        UnsupportedVoxels: A RescaleSlope is 0.
        MemoryShortage: The array does not fit into memory.
        MissingFile, DataError: The operating system cannot read a file.
    """
    where = container.path
    header = slices[0].file
    kind = predicted_type(slices)
    shape = (len(slices), header.rows or 0, header.columns or 0)
    voxels = _allocate(shape, np.dtype(np.int16) if kind == np.int32 else kind, where)
    padded = 0
    with container.opened() as files, ImageDecoder() as decoder:
        for file, wanted in _by_file(slices).items():
            member = wanted[0][1].file
            with files.open(file) as stream:
                for (index, item), stored in zip(wanted, _decoded(stream, member, wanted, decoder, where), strict=True):
                    padded += 0 if member.padding is None else int(np.count_nonzero(stored == member.padding))
                    scaled = _scaled(stored, item, kind, where)
                    if voxels.dtype != kind and not _fits(scaled, voxels.dtype):
                        voxels = _widened(voxels, kind, where)
                    voxels[index] = scaled
    return voxels, _warnings(slices, padded, voxels.size, where)


def _intensity_range(item: Slice) -> tuple[float, float] | None:
    """Return the least and the largest intensity that a slice can have; None if they are not integers."""
    header = item.file
    if header.bits_stored is None or item.slope != int(item.slope) or item.intercept != int(item.intercept):
        return None
    count = 2**header.bits_stored
    stored = (-count // 2, count // 2 - 1) if header.signed else (0, count - 1)
    ends = sorted(value * item.slope + item.intercept for value in stored)
    return ends[0], ends[1]


def _allocate(shape: tuple[int, int, int], kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    try:
        return np.empty(shape, kind)
    except (MemoryError, ValueError) as error:  # ValueError: larger than the address space
        wanted = np.prod(np.array(shape, dtype=np.float64)) * kind.itemsize
        raise MemoryShortage(
            f"needs {wanted / 1e9:.1f} GB of memory for its voxels alone.", where=where, cure="Use a larger machine."
        ) from error


def _widened(voxels: NDArray[Any], kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    depth, rows, columns = voxels.shape
    wider = _allocate((depth, rows, columns), kind, where)
    wider[...] = voxels
    return wider


def _by_file(slices: tuple[Slice, ...]) -> dict[str, list[tuple[int, Slice]]]:
    """Group slices by file, with their indices in the array."""
    by_file: dict[str, list[tuple[int, Slice]]] = defaultdict(list)
    for index, item in enumerate(slices):
        by_file[item.file.member].append((index, item))
    return by_file


def _decoded(
    stream: BinaryIO, header: FileHeader, wanted: list[tuple[int, Slice]], decoder: ImageDecoder, where: Path
) -> Iterator[NDArray[Any]]:
    """Yield the stored numbers (rows columns) of each wanted slice of one file."""
    with translate_errors(where, header.member, "cannot be read again"):
        dataset = _with_pixels(stream, header)
        content = next((dataset[name].value for name in _PIXELS if name in dataset), None)
        syntax = uid_of(dataset.file_meta.TransferSyntaxUID)  # fails if a hostile file gives several
    fault = f"has pixels that cannot be decoded, compressed as {printable(syntax.name)}"
    with translate_errors(where, header.member, fault):
        is_compressed = syntax.is_encapsulated
    _require_complete(content, header, where, is_compressed=is_compressed)
    for _, item in wanted:
        with translate_errors(where, header.member, fault):
            stored = decoder.decode(dataset, item.frame or 0, header, syntax)
        yield stored


def _with_pixels(stream: BinaryIO, header: FileHeader) -> Dataset:
    """Read the pixels of a file and the elements needed to decode them."""
    inflated = inflate(stream)
    dataset = pydicom.dcmread(inflated or stream, force=True, specific_tags=list(_TAGS))
    if "file_meta" not in dataset.__dict__:
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid_of(ExplicitVRLittleEndian if inflated else header.syntax)
    if header.bits_stored is None and "PixelData" in dataset:
        raise ValueError("BitsStored is missing")
    return dataset


def _require_complete(content: Any, header: FileHeader, where: Path, *, is_compressed: bool) -> None:
    """Refuse pixel data that is missing, or shorter than the header promises."""
    if content is None or len(content) == 0:
        raise TruncatedFile(f"is truncated: {header.member} has no pixels.", where=where, cure=CUT_SHORT)
    promised = (header.rows or 0) * (header.columns or 0) * header.frames * (header.bits_allocated or 0) // 8
    if is_compressed or len(content) >= promised:
        return
    raise TruncatedFile(
        f"is truncated: {header.member} promises {promised} bytes of pixels, but holds {len(content)}.",
        where=where,
        cure=CUT_SHORT,
    )


def _scaled(stored: NDArray[Any], item: Slice, kind: np.dtype[Any], where: Path) -> NDArray[Any]:
    """Return the intensities of a slice."""
    if item.slope == 0:
        raise UnsupportedVoxels(
            f"has a RescaleSlope of 0 ({item.name}), which makes every voxel the same.", where=where, cure=EXPORT_AGAIN
        )
    if (item.slope, item.intercept) == (1.0, 0.0):
        return stored
    if kind.kind == "f":
        return (stored.astype(np.float64) * item.slope + item.intercept).astype(np.float32)
    return stored.astype(np.int64) * int(item.slope) + int(item.intercept)


def _fits(scaled: NDArray[Any], kind: np.dtype[Any]) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= scaled.min() and scaled.max() <= limits.max)


def _warnings(slices: tuple[Slice, ...], padded: int, size: int, where: Path) -> tuple[str, ...]:
    first = slices[0]
    warnings = []
    if padded:
        value = (first.file.padding or 0.0) * first.slope + first.intercept
        warnings.append(
            f"{where}: {padded} of {size} voxels ({padded / size:.1%}) lie outside of the scanned area and hold the "
            f"padding value {value:g}; they are kept."
        )
    if any(item.file.photometric == "MONOCHROME1" for item in slices):
        warnings.append(f"{where}: is to be displayed inverted (MONOCHROME1); the intensities are kept as stored.")
    if first.file.modality == "CT" and not all(item.rescaled for item in slices):
        warnings.append(f"{where}: is CT without a rescale to HU; the stored values are taken as HU.")
    return tuple(warnings)
