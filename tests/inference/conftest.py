"""A model that segments in milliseconds, and scans for it."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

LABELS = {1: "bright", 5: "dark"}


def blocks(seed=0, shape=(40, 32, 6)):
    rng = np.random.default_rng(seed)
    image = 100 + 10 * rng.standard_normal(shape)
    image[5:20, 8:20] += 80
    return image.astype(np.float32)


def ct_blocks():
    """Blocks in units like those of CT: -1000 around them, and soft tissue."""
    return 12 * blocks() - 2200


@pytest.fixture
def write():
    """Write a NIfTI scan and give its path back."""

    def write_scan(path, array=None, affine=None, **header):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(
            blocks() if array is None else array, np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine
        )
        for name, value in header.items():
            image.header[name] = value
        nibabel.save(image, path)
        return path

    return write_scan


@pytest.fixture(scope="session")
def model_folder(small_model, small_settings, tmp_path_factory):
    """Random weights find something everywhere, which is all that is needed here."""
    from sautomed.inference.bundle import Bundle, save_bundle

    data = small_settings.data.model_copy(update={"plane": "axial", "modality": "other"})
    folder = tmp_path_factory.mktemp("model")
    save_bundle(folder, Bundle(small_model, small_settings.model_copy(update={"data": data}), LABELS, "MR"))
    return folder


@pytest.fixture(scope="session")
def model(model_folder):
    from sautomed.inference.model import load

    return load(model_folder, device="cpu")


@pytest.fixture
def mr_model(model):
    """A model that knows the intensities of its training scans, which are like those of `write`."""
    from sautomed.inference.model import Model
    from sautomed.inference.percentiles import percentiles_of

    intensities = tuple(percentiles_of(blocks(seed), "other") for seed in (1, 2))
    return Model(replace(model.bundle, intensities=intensities), model.device, model.folder, sha256=model.sha256)


@pytest.fixture
def run(model):
    """Plan and run in one go, as the command line does."""
    from sautomed.inference.batch import SegmentOptions, plan_jobs, run_plan

    def run_all(source, output, on_slice=None, **options):
        options = {"preview": False} | options
        return run_plan(options.pop("model", model), plan_jobs(source, output, SegmentOptions(**options)), on_slice)

    return run_all


@pytest.fixture
def out_of_memory():
    """The error of a full GPU."""
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")


@pytest.fixture
def dicom_file():
    """Write the start of a DICOM file: enough to be found and to have a study."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def write_dicom(path, study="1.2.3"):
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        header.StudyInstanceUID = study
        pydicom.dcmwrite(path, header, enforce_file_format=True)
        return path

    return write_dicom
