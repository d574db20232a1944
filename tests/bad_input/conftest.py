"""Fixtures of the bad-input table: commands, and small scans to damage."""

import nibabel
import numpy as np
import pytest

from ..datasets.block_dataset import BlockDataset


@pytest.fixture
def refused(command):
    """Run a command that must be refused with this code, this id and these words, and must write nothing."""

    def run(code, error_id, words, *arguments, target=None):
        found, output = command(*arguments)
        assert found == code, output
        for word in (error_id, *words):
            assert word in output, (word, output)
        if target is not None:
            assert not target.exists()
            if target.parent.exists():
                assert not list(target.parent.glob(".*"))
        return output

    return run


@pytest.fixture
def segment(refused, trained_run, tmp_path):
    """Segment one scan, which must be refused."""

    def run(code, error_id, words, scan, *options):
        target = tmp_path / "out.nii.gz"
        return refused(
            code, error_id, (*words, str(scan)), "segment", "-i", scan, "-m", trained_run, "-o", target, *options,
            target=target,
        )  # fmt: skip

    return run


@pytest.fixture
def train(command, tmp_path):
    """Run a training of one step and return its exit code and output."""

    def run(folder, *options):
        small = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128", "--set", "train.steps=1")
        return command("train", "-d", folder, "-o", tmp_path / "run", *small, *options)

    return run


@pytest.fixture
def blocks(tmp_path):
    return BlockDataset(tmp_path / "Dataset001_Blocks")


def noise(shape=(40, 32, 6), dtype=np.float32):
    return np.random.default_rng(0).normal(100, 20, shape).astype(dtype)


def write(path, array=None, affine=None, edit=None, dtype=None):
    """Write a NIfTI file; `edit` may change its image first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(
        noise() if array is None else array, np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine, dtype=dtype
    )
    if edit is not None:
        edit(image)
    nibabel.save(image, path)
    return path


def patch(path, **fields):
    """Overwrite header fields of an uncompressed NIfTI file without nibabel's checks."""
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(binaryblock=bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(bytes(content))
    return path
