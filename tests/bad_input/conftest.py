"""What the rows of the bad-input table need: the command line, and scans as users have them."""

import nibabel
import numpy as np
import pytest

from sautomed import cli

from ..datasets.sick import Sick


@pytest.fixture
def command(capsys):
    """Run the command line in this process: its exit code, and what it said, without line breaks."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert "Traceback" not in told.err, told.err[-1500:]
        return code, " ".join((told.out + told.err).split())

    return run


@pytest.fixture
def refused(command):
    """Run a command that must be refused with this code, this id and these words, and leave no output."""

    def run(code, error_id, words, *arguments, target=None):
        found, told = command(*arguments)
        assert found == code, told
        for word in (error_id, *words):
            assert word in told, (word, told)
        if target is not None:
            assert not target.exists()
            if target.parent.exists():
                assert not list(target.parent.glob(".*"))
        return told

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
    """Begin a small training; its code and what it said."""

    def run(folder, *options):
        small = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128", "--set", "train.steps=1")
        return command("train", "-d", folder, "-o", tmp_path / "run", *small, *options)

    return run


@pytest.fixture
def sick(tmp_path):
    return Sick(tmp_path / "Dataset001_Sick")


def noise(shape=(40, 32, 6), dtype=np.float32):
    return np.random.default_rng(0).normal(100, 20, shape).astype(dtype)


def write(path, array=None, affine=None, edit=None, dtype=None):
    """A NIfTI file; `edit` is given its image before it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(
        noise() if array is None else array, np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine, dtype=dtype
    )
    if edit is not None:
        edit(image)
    nibabel.save(image, path)
    return path


def patch(path, **fields):
    """Overwrite header fields of an uncompressed NIfTI behind nibabel's back."""
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(binaryblock=bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(bytes(content))
    return path
