"""Write DICOM series as scanners do, and return what a reader should find.

Elements of all files or of one, positions, transfer syntax and type of the stored numbers can be changed.
"""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@dataclass
class Written:
    """A series on disk, with the volume that a reader should find.

    Args:
        path: The folder or the file.
        voxels: Intensities (column row slice), slices in order along their normal.
        affine: 4x4, index to RAS mm.
        files: In the order of the slices.
    """

    path: Path
    voxels: np.ndarray
    affine: np.ndarray
    files: list[Path] = field(default_factory=list)


def make_series(
    folder: Path,
    stored: np.ndarray | tuple[int, int, int] = (4, 5, 6),
    *,
    orientation=AXIAL,
    pixel_mm=(0.7, 0.9),
    offsets_mm=None,
    origin=(-31.25, 12.5, 104.0),
    slope=1,
    intercept=-1024,
    syntax=ExplicitVRLittleEndian,
    seed=0,
    edit=None,
    prefix="",
    **tags,
) -> Written:
    """Write a folder with one file per slice; the names are shuffled, so that only the positions give the order.

    Args:
        stored: Stored numbers (slices rows columns), or a shape for random 12-bit ones.
        orientation: Directions along a row and along a column, LPS.
        pixel_mm: Distance of rows and of columns.
        offsets_mm: Position of each slice along the normal; 2.5 mm apart by default.
        edit: Called with each slice's index and data set before it is written; if it returns False, no file is written.
        tags: Elements of every file; None removes one.
    """
    rng = np.random.default_rng(seed)
    if isinstance(stored, tuple):
        stored = rng.integers(0, 4096, stored).astype(np.uint16)
    offsets_mm = np.arange(len(stored)) * 2.5 if offsets_mm is None else np.array(offsets_mm, dtype=float)
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}{number:03d}.dcm" for number in rng.permutation(len(stored))]
    files = []
    for index, (name, plane) in enumerate(zip(names, stored, strict=True)):
        dataset = slice_of(plane, syntax)
        place = np.array(origin) + offsets_mm[index] * _normal(orientation)
        dataset.ImagePositionPatient = [f"{mm:.12g}" for mm in place]
        dataset.ImageOrientationPatient = [f"{cosine:.12g}" for cosine in orientation]
        dataset.PixelSpacing = list(pixel_mm)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        for keyword, value in {**uids, "SeriesDescription": "Abdomen", "SeriesNumber": 2, **tags}.items():
            set_tag(dataset, keyword, value)
        if edit is None or edit(index, dataset) is not False:
            save(dataset, folder / name)
            files.append(folder / name)
    voxels = (stored.astype(np.float64) * slope + intercept).transpose(2, 1, 0)
    gap_mm = (offsets_mm[-1] - offsets_mm[0]) / max(len(stored) - 1, 1)
    return Written(folder, voxels, affine_of(orientation, pixel_mm, gap_mm, origin), files)


def make_multi_frame(
    path: Path, stored=(4, 5, 6), *, orientation=AXIAL, pixel_mm=(0.7, 0.9), gap_mm=2.5, order=None, edit=None, **tags
) -> Written:
    """Write an enhanced MR file with frames in any order; all elements but the positions are in the shared groups."""
    if isinstance(stored, tuple):
        stored = np.random.default_rng(0).integers(0, 4096, stored).astype(np.uint16)
    order = list(range(len(stored))) if order is None else order
    dataset = slice_of(np.concatenate([stored[index] for index in order]), ExplicitVRLittleEndian)
    dataset.SOPClassUID, dataset.Modality = EnhancedMRImageStorage, "MR"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.NumberOfFrames, dataset.Rows = len(order), stored.shape[1]
    shared = Dataset()
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(orientation)
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = list(pixel_mm)
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = 2
    shared.PixelValueTransformationSequence[0].RescaleIntercept = 10
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for index in order:
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [*(index * gap_mm * _normal(orientation))]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    for keyword, value in tags.items():
        set_tag(dataset, keyword, value)
    if edit is not None:
        edit(dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, path)
    affine = affine_of(orientation, pixel_mm, gap_mm, (0, 0, 0))
    return Written(path, (stored.astype(np.float64) * 2 + 10).transpose(2, 1, 0), affine, [path])


def slice_of(plane: np.ndarray, syntax=ExplicitVRLittleEndian) -> Dataset:
    """Return a CT image without geometry or series."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax if syntax in PLAIN else ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = plane.dtype.itemsize * 8
    if plane.dtype.kind == "f":
        dataset.BitsAllocated = bits
        setattr(dataset, "FloatPixelData" if bits == 32 else "DoubleFloatPixelData", plane.tobytes())
        return dataset
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    content = plane.astype(plane.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    if syntax not in PLAIN:
        dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def to_jpeg(file: Path, kind: str = "JPEGLosslessProcess14_1") -> None:
    """Compress a file with a kind of JPEG that only GDCM writes; lossless by default."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(file))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()


def set_tag(dataset: Dataset, keyword: str, value) -> None:
    """Set an element; None removes it."""
    if value is not None:
        setattr(dataset, keyword, value)
    elif keyword in dataset:
        delattr(dataset, keyword)


def save(dataset: Dataset, path: Path) -> Path:
    """Write a data set with preamble and meta information."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID") or CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    dataset.save_as(path, enforce_file_format=True)
    return path


def affine_of(orientation, pixel_mm, gap_mm, origin) -> np.ndarray:
    """Return the affine, index (column row slice) to RAS mm, by PS3.3 C.7.6.2.1.1."""
    lps = np.eye(4)
    lps[:3, 0] = np.array(orientation[:3]) * pixel_mm[1]
    lps[:3, 1] = np.array(orientation[3:]) * pixel_mm[0]
    lps[:3, 2] = _normal(orientation) * gap_mm
    lps[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def zip_of(folder: Path, path: Path) -> Path:
    """Write all files of a folder to a zip, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


def _normal(orientation) -> np.ndarray:
    return np.cross(orientation[:3], orientation[3:])
