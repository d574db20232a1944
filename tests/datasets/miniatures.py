"""Miniatures of every dataset layout: the same synthetic patients in the files of each layout.

To test a new layout, add a function that writes it and a row to `MINIATURES`; the tests of all layouts then include it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from sautomed.datasets import Case

SHAPE = (12, 64, 80)  # slices to superior, rows to posterior, columns to the left
SPACING_MM = (4.0, 1.5, 1.5)
# Centre and radii as (slice, row, column), with about the proportions of a patient.
ORGANS = {
    "liver": ((6, 28, 18), (5, 14, 12)),
    "spleen": ((7, 34, 64), (3.5, 7, 5)),
    "right_kidney": ((5, 46, 26), (3.5, 4.5, 4.5)),
    "left_kidney": ((5, 46, 56), (3.5, 4.6, 4.5)),
    "stomach": ((7, 16, 52), (4, 7, 8)),
    "pancreas": ((4, 32, 42), (1.6, 3, 8)),
    "gallbladder": ((4, 16, 36), (1.8, 3, 3)),
    "aorta": ((6, 46, 42), (6.5, 3, 3)),
    "inferior_vena_cava": ((6, 46, 35), (6.5, 2, 2)),
    "portal_and_splenic_vein": ((7, 36, 44), (1.2, 2, 4)),
    "esophagus": ((10, 40, 38), (1.5, 2, 2)),
    "right_adrenal_gland": ((9, 38, 26), (1.2, 1.5, 1.5)),
    "left_adrenal_gland": ((9, 40, 56), (1.2, 1.5, 1.5)),
    "heart": ((8, 26, 46), (3, 9, 11)),
    "trachea": ((6, 36, 40), (6, 2, 2)),
}
LPS = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])


@dataclass(frozen=True)
class Patient:
    """A synthetic patient: HU as int16 (d h w), and the mask of each organ."""

    image: np.ndarray
    organs: dict[str, np.ndarray]

    def mr(self, sequence: str) -> np.ndarray:
        """Return the patient as an MR sequence of CHAOS: nothing is below zero."""
        return self.image + {"t2spir": 1100, "t1in": 1300, "t1out": 1200}[sequence]

    @property
    def scaled(self) -> np.ndarray:
        """The scan windowed as SAMed does, float32 in [0, 1]."""
        return ((np.clip(self.image, -125, 275) + 125) / 400).astype(np.float32)

    def labels(self, values: dict[str, int]) -> np.ndarray:
        """Return uint8 (d h w) with the value of each organ."""
        array = np.zeros(self.image.shape, np.uint8)
        for name, mask in self.organs.items():
            array[mask] = values.get(name, 0)
        return array


def make_patient(names, seed):
    """Make a body in air with organs of different brightness; where organs overlap, the smaller one is kept."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(length) for length in SHAPE), indexing="ij"))
    body = ((grid[1] - 32) / 31) ** 2 + ((grid[2] - 40) / 39) ** 2 <= 1
    image, organs, free = np.where(body, 0.0, -1000.0), {}, body.copy()
    for number, name in enumerate(sorted(names, key=lambda name: np.prod(ORGANS[name][1]))):
        centre, radii = (np.array(part, float).reshape(3, 1, 1, 1) for part in ORGANS[name])
        centre[1:] += rng.integers(-1, 2, (2, 1, 1, 1))
        organs[name] = free & ((((grid - centre) / radii) ** 2).sum(0) <= 1)
        free &= ~organs[name]
        image[organs[name]] = 50 + 14 * ((7 * number) % 13)
    return Patient((image + 6 * rng.standard_normal(SHAPE)).astype(np.int16), organs)


# --- files of a patient -----------------------------------------------------------------------------------------------


def save_nifti(path, array, affine=LPS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), path)


def save_series(folder, array, name="IMG-0002-{:05d}.dcm", first=1, uid=None, **changed):
    """Write one file per slice, the highest slice first, as scanners do."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = [uid or generate_uid() for _ in range(3)]
    for k, pixels in enumerate(array):
        number = first + len(array) - 1 - k
        _dicom(pixels, k, number, uids, changed).save_as(folder / name.format(number), enforce_file_format=True)


def _dicom(pixels, k, number, uids, changed):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage if changed.get("Modality") == "CT" else MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uids
    dataset.PatientID, dataset.PatientName, dataset.Modality = "1", "anon", "MR"
    dataset.SeriesNumber, dataset.InstanceNumber = 2, number
    dataset.ImagePositionPatient = [10, -20, 300 + SPACING_MM[0] * k]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [SPACING_MM[1], SPACING_MM[2]], SPACING_MM[0]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    return dataset


def save_pictures(folder, grays, name="IMG-0002-{:05d}.png", first=1):
    """Write one picture per slice of gray values (d h w), numbered as in `save_series`."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(grays):
        Image.fromarray(picture.astype(np.uint8)).save(folder / name.format(first + len(grays) - 1 - k))


# --- layouts ----------------------------------------------------------------------------------------------------------

PAPER = ("spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas")
BTCV = (
    "spleen", "right_kidney", "left_kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
    "inferior_vena_cava", "portal_and_splenic_vein", "pancreas", "right_adrenal_gland", "left_adrenal_gland",
)  # fmt: skip
SEGTHOR = ("esophagus", "heart", "trachea", "aorta")
CHAOS = {"liver": 63, "right_kidney": 126, "left_kidney": 189, "spleen": 252}
ALPHABETICAL = ("aorta", "gallbladder", "left_kidney", "right_kidney", "liver", "pancreas", "spleen", "stomach")


def numbered(names):
    return {name: value for value, name in enumerate(names, start=1)}


def write_nnunet(folder, patients, ending=".nii.gz"):
    for name, patient in patients.items():
        save_nifti(folder / "imagesTr" / f"case_{name}_0000{ending}", patient.image)
        save_nifti(folder / "labelsTr" / f"case_{name}{ending}", patient.labels(numbered(PAPER)))
    describe(folder, channel_names={"0": "CT"}, labels={"background": 0} | numbered(PAPER), file_ending=ending)
    return {f"case_{name}": patient for name, patient in patients.items()}


def write_msd(folder, patients):
    for name, patient in patients.items():
        save_nifti(folder / "imagesTr" / f"organ_{name}.nii.gz", patient.image)
        save_nifti(folder / "labelsTr" / f"organ_{name}.nii.gz", patient.labels(numbered(PAPER)))
        (folder / "imagesTr" / f"._organ_{name}.nii.gz").touch()
    pairs = [
        {"image": f"./imagesTr/organ_{name}.nii.gz", "label": f"./labelsTr/organ_{name}.nii.gz"} for name in patients
    ]
    names = {"0": "background"} | {str(value): name for name, value in numbered(PAPER).items()}
    describe(folder, name="Organs", modality={"0": "CT"}, labels=names, training=pairs, test=[], tensorImageSize="3D")
    return {f"organ_{name}": patient for name, patient in patients.items()}


def describe(folder, **description):
    (folder / "dataset.json").write_text(json.dumps(description))


def write_btcv(folder, patients):
    training = folder / "RawData" / "Training"
    for name, patient in patients.items():
        save_nifti(training / "img" / f"img{name:0>4}.nii.gz", patient.image)
        save_nifti(training / "label" / f"label{name:0>4}.nii.gz", patient.labels(numbered(BTCV)))
    save_nifti(folder / "RawData" / "Testing" / "img" / "img0061.nii.gz", next(iter(patients.values())).image)
    return {f"{name:0>4}": patient for name, patient in patients.items()}


def write_chaos_mr(folder, patients, flat=False):
    """Write three sequences of each patient, which differ in brightness."""
    for name, patient in patients.items():
        place, grays = folder / "Train_Sets" / "MR" / name, patient.labels(CHAOS)
        save_series(place / "T2SPIR" / "DICOM_anon", patient.mr("t2spir"))
        save_pictures(place / "T2SPIR" / "Ground", grays)
        dual, uid = place / "T1DUAL" / "DICOM_anon", generate_uid()
        for phase, sequence, time, first in (("InPhase", "t1in", "4.6", 101), ("OutPhase", "t1out", "2.3", 201)):
            image = patient.mr(sequence)
            save_series(dual / ("" if flat else phase), image, first=first, uid=uid, EchoTime=time)
        save_pictures(place / "T1DUAL" / "Ground", grays, first=101)
    return dict(patients)


def write_chaos_ct(folder, patients):
    for name, patient in patients.items():
        place = folder / "Train_Sets" / "CT" / name
        hu = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1000}
        save_series(place / "DICOM_anon", patient.image + 1000, name="i{:04d},0000b.dcm", **hu)
        save_pictures(place / "Ground", patient.labels({"liver": 255}), name="liver_GT_{:03d}.png", first=0)
    return dict(patients)


def write_segthor(folder, patients):
    for name, patient in patients.items():
        place = folder / "train" / f"Patient_{name:0>2}"
        save_nifti(place / f"{place.name}.nii.gz", patient.image)
        save_nifti(place / "GT.nii.gz", patient.labels(numbered(SEGTHOR)))
    save_nifti(folder / "test" / "Patient_41.nii.gz", next(iter(patients.values())).image)
    return {f"Patient_{name:0>2}": patient for name, patient in patients.items()}


def write_transunet(folder, patients, names=ALPHABETICAL):
    """Write the last patient as one test volume, the others slice by slice."""
    for name, patient in patients.items():
        image, labels = patient.scaled, patient.labels(numbered(names)).astype(np.float32)
        if name == list(patients)[-1]:
            path = folder / "test_vol_h5" / f"case{name:0>4}.npy.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["image"], file["label"] = image, labels
            continue
        for k in range(len(image)):
            path = folder / "train_npz" / f"case{name:0>4}_slice{k:03d}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, image=image[k], label=labels[k])
    return {f"case{name:0>4}": patient for name, patient in patients.items()}


def write_samed(folder, patients):
    return write_transunet(folder, patients, PAPER)


@dataclass(frozen=True)
class Miniature:
    """How tests write one layout.

    Args:
        write: Write patients, given by name, into a folder; returns them by the case id or group that they get.
        organs: Names of the organs that the patients have.
        image: The voxels that a case of a patient should have, (d h w).
        has_spacing: Whether the files say how large a voxel is.
    """

    write: Callable[[Path, dict[str, Patient]], dict[str, Patient]]
    organs: Iterable[str]
    image: Callable[[Patient, Case], np.ndarray] = lambda patient, case: patient.image
    has_spacing: bool = True


def sequence(name):
    return lambda patient, case: patient.mr(name)


MINIATURES = {
    "nnunet-raw": Miniature(write_nnunet, PAPER),
    "msd": Miniature(write_msd, PAPER),
    "btcv": Miniature(write_btcv, BTCV),
    "btcv-8": Miniature(write_btcv, BTCV),
    "chaos-t2spir": Miniature(write_chaos_mr, CHAOS, sequence("t2spir")),
    "chaos-t1in": Miniature(write_chaos_mr, CHAOS, sequence("t1in")),
    "chaos-t1out": Miniature(write_chaos_mr, CHAOS, sequence("t1out")),
    "chaos-mr": Miniature(write_chaos_mr, CHAOS, lambda patient, case: patient.mr(case.id.split("_")[1])),
    "chaos-ct": Miniature(write_chaos_ct, CHAOS),
    "segthor": Miniature(write_segthor, SEGTHOR),
    "transunet": Miniature(write_transunet, PAPER, lambda patient, case: patient.scaled, has_spacing=False),
    "transunet-samed": Miniature(write_samed, PAPER, lambda patient, case: patient.scaled, has_spacing=False),
}


def write_miniature(layout, folder, patients=("1", "2")):
    """Write patients in a layout; returns them by the case id or group that they should get."""
    miniature = MINIATURES[layout]
    made = {name: make_patient(miniature.organs, seed) for seed, name in enumerate(patients)}
    return miniature.write(Path(folder), made)
