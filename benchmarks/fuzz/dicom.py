"""DICOM files for `fuzz.seeds`, and the positions of their elements."""

import io
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SLICES, ROWS, COLUMNS = 4, 34, 33  # JPEG 2000 refuses smaller ones
WRITTEN_PLAIN = ("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian")
DEFLATED = "DeflatedExplicitVRLittleEndian"


def series(syntax: str) -> dict[str, bytes]:
    """Return one CT series, a file for each slice, in the given transfer syntax."""
    files = {}
    for index in range(SLICES):
        dataset = _image(_pixels(ROWS, index, "u1" if syntax == "JPEGBaseline8Bit" else "u2"))
        dataset.ImagePositionPatient = ["-31.25", "12.5", f"{104 + 2.5 * index:g}"]
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        dataset.PixelSpacing = ["0.9", "0.7"]
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
        dataset.InstanceNumber = index + 1
        files[f"{index}.dcm"] = _written(dataset, syntax)
    return files


def multi_frame() -> bytes:
    """Return an enhanced MR file."""
    dataset = _image(_pixels(SLICES * ROWS, 0, "u2"))
    dataset.SOPClassUID, dataset.Modality = uid.EnhancedMRImageStorage, "MR"
    dataset.NumberOfFrames, dataset.Rows = SLICES, ROWS
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=["0.9", "0.7"])]
    shared.PixelValueTransformationSequence = [_item(RescaleSlope="2", RescaleIntercept="10")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    positions = [_item(ImagePositionPatient=["0", "0", f"{2.5 * index:g}"]) for index in range(SLICES)]
    dataset.PerFrameFunctionalGroupsSequence = [_item(PlanePositionSequence=[position]) for position in positions]
    return _written(dataset, "ExplicitVRLittleEndian")


def segmentations() -> dict[str, bytes]:
    """Return segmentations of a series as sautomed writes them, by format."""
    from sautomed.scans import LabelMap, read_geometry
    from sautomed.scans.grid import orient

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "series").mkdir()
        for name, content in series("ExplicitVRLittleEndian").items():
            (folder / "series" / name).write_bytes(content)
        native = read_geometry(folder / "series").native
        array, affine = orient(np.zeros(native.shape, np.uint8), native, "axial")
        array = array.copy()
        array[1:3, 4:9, 5:20], array[2, 12:20, 3:9] = 1, 5
        labels = LabelMap(array, affine, native, "axial", {1: "liver", 5: "left kidney"})
        found = {}
        for name, ending in (("dicom-seg", ".seg.dcm"), ("dicom-labelmap", ".labelmap.dcm")):
            labels.save(folder / f"a{ending}")
            found[name] = (folder / f"a{ending}").read_bytes()
        return found


def inflated(content: bytes) -> tuple[bytes, bytes]:
    """Split a deflated file into its meta information and the data set, uncompressed."""
    end = 144 + int.from_bytes(content[140:144], "little")  # preamble, DICM, and the element with the length
    return content[:end], zlib.decompress(content[end:], -zlib.MAX_WBITS)


def positions(content: bytes, *, deflated: bool) -> Iterator[tuple[int, int, int, bool, bool, bool]]:
    """Yield the fields of `seeds.Element` for every element, also within items."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    body = inflated(content)[1] if deflated else content
    implicit, little = dataset.original_encoding
    parts = [(dataset, not implicit, not little)] + ([] if deflated else [(dataset.file_meta, True, False)])
    for part, explicit, big in parts:
        for element in _all_elements(part):
            value = getattr(element, "file_tell", None)
            if not value:
                continue
            tag = b"".join(n.to_bytes(2, "big" if big else "little") for n in (element.tag.group, element.tag.elem))
            long = explicit and body[value - 12 : value - 8] == tag
            start = value - (12 if long else 8)
            if body[start : start + 4] == tag:
                counted = body[start + 8 : value] if long else body[start + (6 if explicit else 4) : value]
                length = int.from_bytes(counted, "big" if big else "little")
                yield start, value, min(length, len(body) - value), long or not explicit, explicit, big


def _all_elements(dataset: Dataset) -> Iterator[Any]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _all_elements(item)


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _pixels(rows: int, index: int, dtype: str) -> Any:
    return np.random.default_rng(index).integers(0, 200, (rows, COLUMNS)).astype(dtype)


def _image(pixels: Any) -> Dataset:
    bits = 8 * pixels.dtype.itemsize
    seed = [str(pixels.sum())]
    dataset = _item(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=uid.CTImageStorage,
        SOPInstanceUID=uid.generate_uid(entropy_srcs=["image", *seed]),
        StudyInstanceUID=uid.generate_uid(entropy_srcs=["study"]),
        SeriesInstanceUID=uid.generate_uid(entropy_srcs=["series"]),
        Modality="CT",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        SeriesDescription="Abdomen",
        SeriesNumber=2,
        AcquisitionNumber=1,
        PatientID="a",
        KVP="120",
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        PixelData=pixels.tobytes(),
    )
    dataset.Rows, dataset.Columns = pixels.shape
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def _written(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta = FileMetaDataset()
    plain = syntax in (*WRITTEN_PLAIN, DEFLATED)
    dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax) if plain else uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if syntax == "ExplicitVRBigEndian":
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    if syntax == "JPEGBaseline8Bit":
        _replace_pixels(dataset, _jpeg(dataset), syntax)
    elif syntax == "JPEGLosslessSV1":
        _replace_pixels(dataset, lossless_jpeg(dataset), syntax)
    elif not plain:
        dataset.compress(getattr(uid, syntax), generate_instance_uid=False)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _replace_pixels(dataset: Dataset, image: bytes, syntax: str) -> None:
    dataset.PixelData = encapsulate([image])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)


def _jpeg(dataset: Dataset) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    pixels = np.frombuffer(dataset.PixelData, "u1").reshape(dataset.Rows, dataset.Columns)
    Image.fromarray(pixels).save(stream, "jpeg", quality=90)
    return stream.getvalue()


def lossless_jpeg(dataset: Dataset) -> bytes:
    """Return the pixels as lossless JPEG, process 14, first-order prediction, which only GDCM writes from Python.

    GDCM would need files, so it is done here: each difference is coded by its number of bits, with a table of 5-bit
    codes for all 17 of them.
    """
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns).astype(int)
    counts = bytes([0, 0, 0, 0, 17, *[0] * 11])
    table = b"\xff\xc4" + (2 + 1 + 16 + 17).to_bytes(2, "big") + b"\0" + counts + bytes(range(17))
    frame = b"\xff\xc3\0\x0b\x10" + dataset.Rows.to_bytes(2, "big") + dataset.Columns.to_bytes(2, "big") + b"\1\1\x11\0"
    scan = b"\xff\xda\0\x08\1\1\0\1\0\0"
    bits = "".join(_coded(value - before) for value, before in _with_prediction(pixels))
    bits += "1" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + frame + table + scan + body + b"\xff\xd9"


def _with_prediction(pixels: Any) -> Iterator[tuple[int, int]]:
    """Yield each pixel with its left neighbour; the first of a row with the one above, the very first with 2**15."""
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            above = int(pixels[row - 1, 0]) if row else 1 << 15
            yield int(pixels[row, column]), int(pixels[row, column - 1]) if column else above


def _coded(difference: int) -> str:
    """Return the code for the number of bits of a difference, then these bits (of one less if it is negative)."""
    difference = (difference + (1 << 15)) % (1 << 16) - (1 << 15)
    count = abs(difference).bit_length()
    if count in (0, 16):
        return f"{count:05b}"
    value = difference if difference > 0 else difference + (1 << count) - 1
    return f"{count:05b}{value:0{count}b}"
