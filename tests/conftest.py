"""What several test rooms need: the real scans, and small data sets on disk."""

import errno
import inspect
import os
import re
import signal
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import hypothesis
import jaxtyping
import nibabel
import numpy as np
import pytest
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:  # each of the processes that share the tests has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# In the background and under nohup a process starts with these ignored, and so would what the tests start.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

hypothesis.settings.register_profile("no deadline", deadline=None)  # no test measures wall time
hypothesis.settings.load_profile("no deadline")

# The rooms whose signatures name the shapes of arrays: every call that tests make there is checked against them. The
# hook sees only what is imported after it, so this file imports sautomed inside its fixtures.
CHECKED_ROOMS = ("sautomed.model", "sautomed.inference", "sautomed.training", "sautomed.baselines", "sautomed.editing")
ARRAY = re.compile(r"\b(Bool|Float|Int|Integer|UInt)\[")

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float, as for mypy


def check_arrays(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Make jaxtyping's decorator check functions and dataclasses that name arrays, and leave all others as they are.

    Checks of all others would double the time and find only what mypy finds. Generator functions are left too: checked,
    they would be plain functions, and `@torch.inference_mode()` would not cover what they do between yields.
    """

    def names_array(function: Any) -> bool:
        try:
            hints = get_type_hints(function)
        except NameError:  # a class that is being defined, or imported for type checkers alone
            hints = inspect.get_annotations(function)
        return any(ARRAY.search(str(hint)) for hint in hints.values())

    def decorate(thing: Any) -> Any:
        if is_dataclass(thing):
            thing.__init__ = decorate(thing.__init__)
        if not inspect.isfunction(thing) or inspect.isgeneratorfunction(thing) or not names_array(thing):
            return thing
        return jaxtyped(check_types(thing), typechecker=None)

    return lambda *, typechecker: decorate


jaxtyping.jaxtyped = check_arrays(jaxtyping.jaxtyped)  # the hook puts it on everything that is defined in the rooms
jaxtyping.install_import_hook(CHECKED_ROOMS, None)


@pytest.fixture(scope="session", autouse=True)
def _float32_everywhere():
    """Make every machine one whose processor does not compute in bf16, so that results and times are the same."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield


@pytest.fixture
def bf16_processor(monkeypatch):
    """Make the processor one that computes in bf16; where it does not, PyTorch emulates it."""
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans, which are not in the repository."""
    folder = Path(os.environ.get("SAUTOMED_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real scans are not at {folder}; set SAUTOMED_TEST_DATA")
    return folder


@pytest.fixture(scope="module")
def s3_server():
    """Run a real S3 server on this machine, which fsspec finds by the environment; returns its address."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield address
        S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3_server, tmp_path_factory):
    """Make a bucket, and return the store and the bucket's name."""
    from s3fs import S3FileSystem

    store, name = S3FileSystem(use_listings_cache=False), tmp_path_factory.mktemp("bucket").name
    store.mkdir(name)
    return store, name


@pytest.fixture
def closed(monkeypatch):
    """Return a set of paths: those in it have no permissions, for root too, whom the system refuses nothing."""
    import io

    paths: set[Path] = set()

    def refuse(function, name, *, itself):
        def call(path, *arguments, **options):
            if paths and isinstance(path, str | os.PathLike):
                place = Path(path) if name == "lstat" else Path(os.path.realpath(path))
                if any(one in place.parents or (itself and one == place) for one in paths):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return function(path, *arguments, **options)

        return call

    for module, name, itself in (
        (os, "stat", False), (os, "lstat", False), (os, "scandir", True), (os, "listdir", True), (io, "open", True)
    ):  # fmt: skip
        monkeypatch.setattr(module, name, refuse(getattr(module, name), name, itself=itself))
    return paths


SMALL_MODEL = {
    "trunk": {"kind": "resnet", "stem": 16, "widths": [16, 16, 16], "depths": [1, 1, 1]},
    "dim": 32,
    "slice_attention": {"heads": 2, "mlp_ratio": 1.0},
    "history": {"tokens": 3},
    "box_prompt": {"heads": 2, "feedforward": 32, "layers": 2},
    "decoder": {"heads": 2, "mlp": 32, "widths": [16, 8]},
}


@pytest.fixture
def command(capsys):
    """Run a command in this process and return its exit code and its output on one line."""
    from sautomed import cli

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err[-1500:]
        return code, " ".join((captured.out + captured.err).split())

    return run


@pytest.fixture(scope="session")
def small_settings():
    """A whole experiment that a test can afford: the preset's parts, a few channels each."""
    from sautomed.config import Settings

    return Settings.model_validate(
        {
            "preset": "small",
            "model": SMALL_MODEL,
            "data": {"image_size": 128, "channels": "neighbours"},
            "train": {"batch": 2, "steps": 4, "validate_every": 2, "warmup_steps": 1, "ema": 0.5},
        }
    )


@pytest.fixture(scope="session")
def small_model(small_settings):
    """A network with random weights and no zeros, so that every part has a say."""
    import torch

    from sautomed.model.build import build

    torch.manual_seed(0)
    model = build(small_settings.model, 2, 128).eval()
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture
def fresh_model(small_settings):
    """The small network as training begins with it."""
    import torch

    from sautomed.model.build import build

    torch.manual_seed(0)
    return build(small_settings.model, 2, 128).train()


def write_scan(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (2.0, 2.0, 5.0)) -> Path:
    """A NIfTI file in RAS with the given spacing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing[:3], 1.0])), path)
    return path


def make_case(seed: int, shape: tuple[int, int, int] = (40, 32, 6)) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright block on the patient's right (label 1) and a dark one on the left (label 5)."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    x, y = rng.integers(2, 6, 2)
    labels[-x - 10 : -x, y : y + 12, 1:-1] = 1
    labels[x : x + 8, y : y + 10, 2:] = 5
    image = 100 + 10 * rng.standard_normal(shape) + 80 * (labels == 1) - 60 * (labels == 5)
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    """Six cases of two blocks in nnU-Net's raw layout; label values 1 and 5, so that gaps are met."""
    import json

    folder = tmp_path_factory.mktemp("data") / "Dataset042_Blocks"
    for number in range(6):
        image, labels = make_case(number)
        write_scan(folder / "imagesTr" / f"block_{number}_0000.nii.gz", image)
        write_scan(folder / "labelsTr" / f"block_{number}.nii.gz", labels)
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "MR"},
                "labels": {"background": 0, "bright": 1, "dark": 5},
                "numTraining": 6,
                "file_ending": ".nii.gz",
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def trained_run(dataset_folder, small_settings, tmp_path_factory) -> Path:
    """A run of four steps on fold 0 of the blocks; look at it, change nothing."""
    from sautomed.training.plan import TrainingPlan
    from sautomed.training.train import train

    run = tmp_path_factory.mktemp("trained") / "run"
    train(TrainingPlan(dataset_folder, run, small_settings, device="cpu"))
    return run
