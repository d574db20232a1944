"""Small valid inputs of every format, which `fuzz_io.py` changes at random.

They are always the same, so that a changed input is identified by its format, its number and the random seed.
"""

import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHAPE = (5, 4, 3)
FLAT = (5, 1, 3)
SYNTAXES = {  # names of pydicom.uid
    "dicom-implicit": "ImplicitVRLittleEndian",
    "dicom-explicit": "ExplicitVRLittleEndian",
    "dicom-big-endian": "ExplicitVRBigEndian",
    "dicom-deflated": "DeflatedExplicitVRLittleEndian",
    "dicom-rle": "RLELossless",
    "dicom-jpeg-2000": "JPEG2000Lossless",
    "dicom-jpeg-ls": "JPEGLSLossless",
    "dicom-jpeg-lossless": "JPEGLosslessSV1",
    "dicom-jpeg": "JPEGBaseline8Bit",
}


@dataclass(frozen=True)
class Element:
    """Position of a DICOM element in its file, in bytes.

    Args:
        start: First byte of the tag.
        value: First byte of the value.
        length: Length of the value; for a sequence, at most the rest of the file.
        long: Whether the length field has four bytes.
        explicit: Whether the type (VR) is given between tag and length.
        big: Whether numbers are big-endian.
    """

    start: int
    value: int
    length: int
    long: bool
    explicit: bool
    big: bool


@dataclass(frozen=True)
class Seed:
    """One valid input.

    Args:
        format: Name in `--formats`.
        files: Content by file name, before `packing`.
        target: File to read, or "" for the folder.
        kind: "scan", "dicom", "dataset", "splits", "picture" or "array".
        peer: The plain library for it; empty if there is none.
        style: How it is changed: "binary", "text" or "dicom".
        head: Bytes of its header, which are changed most.
        packing: "", "gzip", "deflate" (after the meta information) or "zip" (all files in one).
        options: Of ReadOptions, with which it is read.
        elements: DICOM elements by file.
        meta: For deflated files, the part before the deflated one.
    """

    format: str
    files: dict[str, bytes]
    target: str
    kind: str = "scan"
    peer: str = ""
    style: str = "binary"
    head: int = 400
    packing: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    elements: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)


def build_seeds() -> dict[str, list[Seed]]:
    """Return all variants by format."""
    found: dict[str, list[Seed]] = {}
    builders: tuple[Callable[[], Iterator[Seed]], ...] = (_nifti, _itk, _nrrd_text, _dicom, _others)
    for builder in builders:
        for seed in builder():
            found.setdefault(seed.format, []).append(seed)
    return found


def packed(seed: Seed, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files as on disk."""
    if seed.packing == "gzip":
        return {name: gzip.compress(content, 1, mtime=0) for name, content in files.items()}
    if seed.packing == "deflate":
        return {name: seed.meta[name] + _deflated(content) for name, content in files.items()}
    return {seed.target: _zip(files)} if seed.packing == "zip" else files


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def _zip(files: dict[str, bytes]) -> bytes:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _numbers(shape: tuple[int, ...], dtype: Any) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def _nifti() -> Iterator[Seed]:
    import nibabel
    import numpy as np

    affine = np.array([[0.8, 0, 0, -12], [0, 0.9, 0, 7], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name in "RGB":
        colours[name] = _numbers(SHAPE, "u1")
    variants = [
        (_numbers(SHAPE, "i2"), {}),
        (_numbers(SHAPE, "f4"), {}),
        (_numbers((*SHAPE, 2), "u1"), {"frame": 1}),
        (colours, {"channel": 1}),
        (_numbers(FLAT, "u2"), {}),
    ]
    kinds = (("nifti-1", nibabel.Nifti1Image, 352), ("nifti-2", nibabel.Nifti2Image, 544))
    for number, (array, options) in enumerate(variants):
        for name, kind, head in kinds:
            image = kind(array, affine)
            image.set_qform(affine, code=1)
            if number == 0:
                image.header.set_slope_inter(2, -10)
            content = image.to_bytes()
            parts: dict[str, Any] = {"kind": "scan", "peer": "nibabel", "head": head, "options": options}
            yield Seed(name, {"a.nii": content}, "a.nii", **parts)
            yield Seed(f"{name}-gzip", {"a.nii.gz": content}, "a.nii.gz", packing="gzip", **parts)


def _itk() -> Iterator[Seed]:
    import SimpleITK

    plain = SimpleITK.GetImageFromArray(_numbers(SHAPE, "i2"))
    plain.SetSpacing((0.8, 0.9, 2.5))
    flat = SimpleITK.GetImageFromArray(_numbers(FLAT, "u1"))
    colours = SimpleITK.Compose(plain, plain, plain)
    volumes = SimpleITK.JoinSeries([plain, plain])
    variants: tuple[tuple[Any, dict[str, Any]], ...] = (
        (plain, {}),
        (flat, {}),
        (colours, {"channel": 1}),
        (volumes, {"frame": 1}),
    )
    for image, options in variants:
        for name, ending in (("nrrd", ".nrrd"), ("nhdr", ".nhdr"), ("mha", ".mha"), ("mhd", ".mhd")):
            guessed = {**options, "assume_spacing": True} if image is volumes else options  # ITK gives no space here
            for compressed in (False, True):
                with tempfile.TemporaryDirectory() as place:
                    SimpleITK.WriteImage(image, str(Path(place) / f"a{ending}"), useCompression=compressed)
                    files = {path.name: path.read_bytes() for path in sorted(Path(place).iterdir())}
                head = len(files[f"a{ending}"]) if len(files) > 1 else _text_head(files[f"a{ending}"])
                yield Seed(name, files, f"a{ending}", "scan", "SimpleITK", "text", head, options=guessed)


def _text_head(content: bytes) -> int:
    for mark in (b"\n\n", b"LOCAL\n"):
        if mark in content:
            return content.index(mark) + len(mark)
    return len(content)


def _nrrd_text() -> Iterator[Seed]:
    """Yield voxels as text, and a segmentation as 3D Slicer writes it, with a list axis and named segments."""
    words = " ".join(map(str, _numbers(SHAPE, "u1").ravel(order="F").tolist()))
    space = "space: left-posterior-superior\nspace directions: (0.8,0,0) (0,0.9,0) (0,0,2.5)\nspace origin: (1,2,3)\n"
    sizes = " ".join(map(str, SHAPE))
    head = f"NRRD0005\n# text\ntype: unsigned char\ndimension: 3\nsizes: {sizes}\nencoding: ascii\n{space}\n"
    yield Seed("nrrd", {"a.nrrd": (head + words).encode()}, "a.nrrd", "scan", "SimpleITK", "text", len(head))
    with_list = space.replace("directions: ", "directions: none ")
    segments = "Segment0_ID:=liver\nSegment0_LabelValue:=1\nSegment0_Layer:=0\n"
    head = (
        f"NRRD0004\ntype: uint16\ndimension: 4\n{with_list}sizes: 2 {sizes}\nkinds: list domain domain domain\n"
        f"endian: big\nencoding: raw\n{segments}\n"
    )
    content = head.encode() + _numbers((2, *SHAPE), ">u2").tobytes(order="F")
    yield Seed("nrrd", {"a.nrrd": content}, "a.nrrd", "scan", "SimpleITK", "text", len(head), options={"frame": 0})


def _dicom() -> Iterator[Seed]:
    from fuzz import dicom

    for name, syntax in SYNTAXES.items():
        files = dicom.series(syntax)
        yield _dicom_seed(name, files, packing="deflate" if "deflated" in name else "")
    yield _dicom_seed("dicom-frames", {"a.dcm": dicom.multi_frame()}, "a.dcm")
    yield _dicom_seed("dicom-zip", dicom.series(SYNTAXES["dicom-explicit"]), "a.zip", "zip")


def _dicom_seed(name: str, files: dict[str, bytes], target: str = "", packing: str = "") -> Seed:
    from fuzz import dicom

    elements, meta = {}, {}
    for file, content in list(files.items()):
        if packing == "deflate":
            meta[file], files[file] = dicom.inflated(content)
        positions = sorted(dicom.positions(content, deflated=packing == "deflate"))
        elements[file] = tuple(Element(*position) for position in positions)
    return Seed(name, files, target, "dicom", "pydicom", "dicom", 1200, packing, {}, elements, meta)


def _others() -> Iterator[Seed]:
    """Yield other inputs: descriptions of datasets, label pictures, arrays."""
    import h5py
    import nibabel
    import numpy as np
    from PIL import Image

    scan = nibabel.Nifti1Image(_numbers(SHAPE, "i2"), np.eye(4)).to_bytes()
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": 2,
        "file_ending": ".nii",
    }
    files = {f"imagesTr/{case}_0000.nii": scan for case in "ab"} | {f"labelsTr/{case}.nii": scan for case in "ab"}
    decathlon = {**described, "labels": {"0": "background", "1": "liver"}, "modality": {"0": "CT"}}
    for text in (described, decathlon):
        with_text = {"dataset.json": json.dumps(text, indent=1).encode(), **files}
        yield Seed("dataset-json", with_text, "", "dataset", "", "text", 300)
    splits = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]
    yield Seed(
        "splits-json", {"splits_final.json": json.dumps(splits).encode()}, "splits_final.json", "splits", "", "text"
    )
    for mode, ending in (("L", "png"), ("P", "png"), ("RGB", "png")):
        stream = io.BytesIO()
        Image.fromarray(_numbers((8, 9), "u1") // 63 * 63).convert(mode).save(stream, ending)
        yield Seed("png", {"a.png": stream.getvalue()}, "a.png", "picture", "Pillow", head=60)
    arrays = {"image": _numbers((6, 7), "f4"), "label": _numbers((6, 7), "u1")}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    yield Seed("npz", {"a.npz": stream.getvalue()}, "a.npz", "array", "numpy", head=200)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("image", data=arrays["image"], chunks=(3, 7), compression="gzip")
        file.create_dataset("label", data=arrays["label"])
    yield Seed("hdf5", {"a.h5": stream.getvalue()}, "a.h5", "array", "h5py", head=4000)
