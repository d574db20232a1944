"""Refusals of `segment` and of model folders, followed to the letter."""

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sautomed
from sautomed.inference.bundle import load_bundle

from ..bad_input.conftest import noise, write
from ..inference.test_bundle import write_sam
from ..scans.dicom.build import make_series

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scan(tmp_path):
    return write(tmp_path / "scan.nii.gz")


@pytest.fixture
def order(trained_run, scan, tmp_path):
    """Return the command that segments a scan, with changes."""

    def command_of(source=scan, model=trained_run, output=tmp_path / "out.nii.gz"):
        return "segment", "-i", source, "-m", model, "-o", output, "--no-preview"

    return command_of


@pytest.fixture
def model(trained_run, tmp_path):
    """A copy of a model folder, to be damaged."""
    return shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "model")


@pytest.fixture
def on_sam(dataset_folder, tmp_path, stop_before_steps):
    """The model folder of a system on a tiny SAM, and the file of that trunk."""
    from sautomed.config import Settings
    from sautomed.inference.bundle import Bundle, save_bundle
    from sautomed.model.build import build

    weights = write_sam(tmp_path / "sam.pth")
    trunk = {"kind": "sam", "weights": str(weights)}
    settings = Settings.model_validate(
        {"model": {"trunk": trunk, "box_prompt": {"feedforward": 32}}, "data": {"image_size": 128}}
    )
    network = build(settings.model, 2, 128).eval()
    save_bundle(tmp_path / "on_sam", Bundle(network, settings, {1: "a", 2: "b"}, "MR"))
    return tmp_path / "on_sam", weights


# --- scans and outputs ---


@pytest.mark.parametrize("cure", ["place", "permissions"])
def test_an_output_in_a_folder_that_may_not_be_entered(refuse, order, tmp_path, closed, cure):
    (tmp_path / "theirs").mkdir()
    closed.add(tmp_path / "theirs")
    key = "inference/batch/refusals.py closed_folders_refused UnwritableTarget"
    refusal = refuse(key, *order(output=tmp_path / "theirs" / "out"))
    if cure == "place":
        refusal.works(refusal.take(r"another place with (-o)"), tmp_path / "out.nii.gz")
    else:
        closed.clear()
        refusal.asks("permissions there").works()


def test_no_scan_in_a_folder(refuse, order, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    refusal = refuse("inference/batch/scans.py find_scans NoCases", *order(folder, output=tmp_path / "out"))
    ending = refusal.take(r"names ending in (\.nii\.gz),")
    refusal.asks("Put scans there")
    write(folder / f"a{ending}")
    refusal.works()


def test_a_folder_of_scans_needs_a_folder(refuse, order, command, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    refusal = refuse("inference/batch/planning.py _plan UsageError", *order(tmp_path / "in"))
    refusal.works(refusal.take(r"Give (-o) a folder"), tmp_path / "out")


def test_a_format_that_is_not_written(refuse, order, command):
    refusal = refuse("inference/batch/planning.py _known_formats UnknownFormat", *order(), "--format", "jpg")
    for name in re.split(", ", refusal.take(r"one of (.+)\."))[:2]:
        assert command(*order(), "--format", name, "--overwrite")[0] == 0


def test_a_name_of_no_format(refuse, order, command, tmp_path):
    refusal = refuse("scans/formats.py ending_of UnknownFormat", *order(output=tmp_path / "out.png"))
    assert command(*order(output=tmp_path / refusal.take(r"Call it (.+), for example")))[0] == 0


def test_the_scan_itself_is_no_output(refuse, order, scan, tmp_path):
    refusal = refuse("inference/batch/refusals.py refuse_clashes TargetExists", *order(output=scan))
    refusal.works(refusal.take("Give another (-o)"), tmp_path / "out.nii.gz")


def test_two_scans_of_one_name(refuse, order, command, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    command("convert", "-i", tmp_path / "in" / "a.nii.gz", "-o", tmp_path / "in" / "a.nrrd")
    key = "inference/batch/refusals.py refuse_clashes UnpairedFiles"
    refusal = refuse(key, *order(tmp_path / "in", output=tmp_path / "out"))
    name = refusal.take(r"Rename the scan (\S+);")
    (tmp_path / "in" / name).rename(tmp_path / "in" / f"other_{name}")
    refusal.works()


def test_a_scan_with_the_name_of_the_list_of_failures(refuse, order, tmp_path):
    write(tmp_path / "in" / "failures.nii.gz")
    write(tmp_path / "in" / "a.nii.gz")
    key = "inference/batch/refusals.py refuse_clashes UnpairedFiles"
    refusal = refuse(key, *order(tmp_path / "in", output=tmp_path / "out"))
    name = refusal.take(r"Rename the scan (\S+);")
    (tmp_path / "in" / name).rename(tmp_path / "in" / f"other_{name}")
    refusal.works()


@pytest.mark.parametrize("cure", ["remove", "another"])
def test_a_folder_with_the_name_of_an_output(refuse, order, tmp_path, cure):
    (tmp_path / "out" / "scan.nii.gz").mkdir(parents=True)
    key = "inference/batch/refusals.py refuse_existing_outputs UnwritableTarget"
    refusal = refuse(key, *order(output=tmp_path / "out")).asks("Remove it")
    if cure == "remove":
        (tmp_path / "out" / "scan.nii.gz").rmdir()
        refusal.works()
    else:
        refusal.works(refusal.take("give another (-o)"), tmp_path / "other")


@pytest.mark.parametrize("cure", ["overwrite", "resume", "another"])
def test_outputs_that_exist(refuse, order, command, tmp_path, cure):
    write(tmp_path / "in" / "a.nii.gz")
    write(tmp_path / "in" / "b.nii.gz", noise() + 1)
    given = order(tmp_path / "in", output=tmp_path / "out")
    assert command(*given)[0] == 0
    refusal = refuse("inference/batch/refusals.py refuse_existing_outputs TargetExists 2", *given)
    if cure == "overwrite":
        refusal.works(refusal.take("Use (--overwrite) to replace them"))
    elif cure == "resume":
        assert "2 of 2 scans were done already" in refusal.works(refusal.take("(--resume) to continue"))
    else:
        refusal.works(refusal.take("or another (-o)"), tmp_path / "other")


@pytest.mark.parametrize(("name", "option"), [("a.json", ["--resume"]), ("summary.json", [])])
@pytest.mark.parametrize("cure", ["overwrite", "another"])
def test_outputs_of_another_program(refuse, order, tmp_path, cure, name, option):
    write(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"mine": 1}')
    given = order(tmp_path / "in", output=tmp_path / "out")
    refusal = refuse("inference/batch/refusals.py refuse_existing_outputs TargetExists", *given, *option)
    (again,) = [refusal.take("Use (--overwrite)")] if cure == "overwrite" else [refusal.take("another (-o)")]
    refusal.works(again, *([] if cure == "overwrite" else [tmp_path / "other"]))


@pytest.mark.parametrize("cure", ["free", "another", "fewer"])
def test_too_little_space(refuse, order, monkeypatch, tmp_path, cure):
    write(tmp_path / "in" / "a.nii.gz")
    usage = namedtuple("usage", "total used free")
    places = {tmp_path: 1000}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(1, 1, places.get(place, 10**12)))
    refusal = refuse(
        "inference/batch/preflight.py require_space UnwritableTarget", *order(tmp_path / "in", output=tmp_path / "out")
    )
    refusal.asks("Free space there", "another place with -o", "fewer scans at a time")
    if cure == "another":
        (tmp_path / "disk").mkdir()
        refusal.works(refusal.take("another place with (-o)"), tmp_path / "disk")
    else:
        places[tmp_path] = 10**12 if cure == "free" else 10**8
        refusal.works()


def test_some_scans_are_corrected_and_done_with_resume(refuse, order, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    bad = write(tmp_path / "in" / "b.nii.gz", np.full((8, 8, 4), 7, np.int16))
    given = order(tmp_path / "in", output=tmp_path / "out")
    refusal = refuse("cli/scan_commands.py _report_failures SomeCasesFailed", *given).asks("Correct the scans above")
    listed = json.loads((tmp_path / "out" / refusal.take(r"also in (\S+)\)")).read_text())["failures"]
    assert [row["case"] for row in listed] == ["b"]
    write(bad, noise() + 1)
    assert "1 of 2 scans were done already" in refusal.works(refusal.take("run it with (--resume)"))


@pytest.mark.parametrize("cure", ["format", "series"])
def test_dicom_output_of_a_scan_that_is_none(refuse, order, scan, command, tmp_path, cure):
    given = order(output=tmp_path / "out")
    key = "inference/batch/preflight.py _require_referable NoDicomSource"
    refusal = refuse(key, *given, "--format", "seg.dcm")
    if cure == "format":
        option, *names = refusal.take(r"another (--format), such as (\S+) or (\S+)\.")
        for name in names:
            assert command(*given, option, name, "--overwrite")[0] == 0
    else:
        make_series(tmp_path / "series", (6, 32, 40))
        option = refusal.take(r"the DICOM series itself with (-i)")
        refusal.works(option, tmp_path / "series", "--format", "nii.gz")


def test_dicom_output_of_a_series_that_cannot_be_referred_to(refuse, order, command, tmp_path):
    make_series(tmp_path / "series", (6, 32, 40), SOPInstanceUID="1.2.3")
    given = order(tmp_path / "series", output=tmp_path / "out")
    key = "inference/batch/preflight.py _require_referable NoDicomSource 2"
    refusal = refuse(key, *given, "--format", "seg.dcm")
    option, *names = refusal.take(r"another (--format), such as (\S+) or (\S+)\.")
    for name in names:
        assert command(*given, option, name, "--overwrite")[0] == 0


def test_a_channel_is_picked_for_the_model(refuse, order, tmp_path):
    path = write(tmp_path / "a.nii.gz", noise((8, 8, 4, 1, 3)))
    refusal = refuse("inference/batch/preflight.py _read_geometry UnsupportedVoxels", *order(path))
    refusal.works(*refusal.take(r"(--channel) (\d+) to"))


def test_more_memory_is_allowed(refuse, order):
    refusal = refuse("inference/memory.py _shortage MemoryShortage", *order(), "--max-ram", 0.1)
    refusal.works(*refusal.take(r"Give (--max-ram) (\S+) or more"))


def test_a_device_that_is_not_there(refuse, order, command):
    refusal = refuse("inference/device.py choose_device UsageError", *order(), "--device", "tpu")
    for name in refusal.take(r"Use (\w+) or (\w+)\."):
        assert command(*order(), "--device", name, "--overwrite")[0] == 0


def test_a_precision_that_there_is_not(refuse, order, command):
    key = "inference/engine/computing.py choose_precision UsageError"
    for name in refuse(key, *order(), "--precision", "16").take(r"Use one of (\w+), (\w+) and bf16\."):
        assert command(*order(), "--precision", name, "--overwrite")[0] == 0


def test_a_processor_that_does_not_compute_in_bf16(refuse, order, command):
    key = "inference/engine/computing.py choose_precision UsageError 2"
    for name in refuse(key, *order(), "--precision", "bf16").take(r"Use --precision (\w+) or (\w+)\."):
        assert command(*order(), "--precision", name, "--overwrite")[0] == 0


def test_an_engine_that_there_is_not(refuse, order):
    refusal = refuse("inference/engine/compute.py computed_network UsageError", *order(), "--engine", "onnx")
    refusal.works("--engine", refusal.take(r"Use one of (\w+),"))


def test_openvino_that_is_not_installed(refuse, order, monkeypatch):
    monkeypatch.setattr("sautomed.inference.engine.openvino.find_spec", lambda name: None)
    refusal = refuse("inference/engine/openvino.py import_openvino PackageMissing", *order(), "--engine", "openvino")
    extra = refusal.take(r'pip install "sautomed\[(\w+)\]"')
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    refusal.works("--engine", refusal.take(r"or use --engine (\w+)\."))


@pytest.mark.parametrize(
    ("device", "key"),
    [
        ("cpu", "inference/engine/graph.py not_convertible NotConvertible"),
        ("meta", "inference/engine/compute.py _in_openvino UsageError"),
    ],
)
def test_a_model_that_openvino_does_not_compute(refuse_call, device, key):
    from sautomed.inference.engine import computed_network

    from ..inference.engine.test_bf16 import Stack

    def compute(engine):
        return computed_network(Stack().to(device), engine, "32", 128, None)

    refusal = refuse_call(key, compute, "openvino")
    refusal.works(refusal.take(r"se --engine (\w+)\."))
    assert ("Add --device cpu" in refusal.error.cure) == (device == "meta")


# --- model folders ---


def test_a_model_that_is_not_there(refuse, order, command, trained_run):
    refusal = refuse("inference/model.py model_folder NotAModel", *order(model=trained_run.with_name("runn")))
    assert command(*order(model=trained_run.with_name(refusal.take(r"Did you mean (\S+)\?"))))[0] == 0


def test_the_name_of_a_shipped_model_is_misspelt(refuse, order, command, model, monkeypatch, tmp_path):
    monkeypatch.setattr("sautomed.inference.shipped.SHIPPED", tmp_path / "shipped")
    shutil.copytree(model, tmp_path / "shipped" / "phantom-ct")
    refusal = refuse("inference/model.py model_folder NotAModel", *order(model="phantom_ct"))
    assert command(*order(model=refusal.take(r"Did you mean (\S+)\?")))[0] == 0


def test_a_run_of_several_folds(refuse, order, command, trained_run, tmp_path):
    for fold in (0, 1):
        shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "run" / f"fold_{fold}" / "model")
    refusal = refuse("inference/model.py model_folder NotAModel 2", *order(model=tmp_path / "run"))
    assert command(*order(model=refusal.take(r"such as (.+)\.")))[0] == 0


def test_a_folder_without_a_model(refuse, order, command, trained_run, tmp_path):
    (tmp_path / "empty").mkdir()
    refusal = refuse("inference/model.py model_folder NotAModel 3", *order(model=tmp_path / "empty"))
    refusal.asks("the folder that `sautomed train` wrote with -o, or a model folder")
    for model in (trained_run, trained_run / "fold_0" / "model"):
        assert command(*order(model=model), "--overwrite")[0] == 0


def test_a_part_of_a_model_folder(refuse, order, command, trained_run, model):
    (model / "model.safetensors").unlink()
    refusal = refuse("inference/bundle.py load_bundle NotAModel", *order(model=model))
    refusal.asks("the folder that `sautomed train` wrote")
    assert command(*order(model=trained_run))[0] == 0


def test_a_model_that_a_training_replaces_all_the_time(refuse, order, model, monkeypatch):
    def load_and_replace(folder, weights):
        edit("dataset.json", description=str(next(times)))(folder)
        return load_bundle(folder, weights)

    times = iter(range(100))
    with monkeypatch.context() as training:
        training.setattr("sautomed.inference.model.load_bundle", load_and_replace)
        refusal = refuse("inference/model.py _load_unchanged NotAModel", *order(model=model))
    refusal.asks("Wait until the training that writes it has ended, then run it again").works()


def edit(name, **changes):
    def change(model):
        path = model / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def unknown_setting(model):
    path = model / "config.json"
    config = json.loads(path.read_text())
    config["settings"]["train"]["frobs"] = 1
    path.write_text(json.dumps(config))


def cut_weights(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def without_a_weight(model):
    state = load_file(model / "model.safetensors")
    state.pop(next(iter(state)))
    save_file(state, model / "model.safetensors")


def no_trunk(model):
    edit("config.json", pretrained_trunk={"sha256": 1})(model)


DAMAGES = [
    ("inference/bundle.py load_bundle NotAModel 2", unknown_setting, "copy it again"),
    (
        "inference/bundle_files.py read_config NotAModel",
        edit("config.json", format=99),
        "Use the sautomed version that wrote it",
    ),
    ("inference/bundle_files.py damaged NotAModel", no_trunk, "Copy the model folder again as a whole"),
    (
        "inference/bundle_files.py damaged NotAModel",
        edit("dataset.json", channel_names={}),
        "Copy the model folder again",
    ),
    ("inference/bundle_weights.py load_weights WrongWeights", cut_weights, "Copy the model folder again"),
    (
        "inference/bundle_weights.py load_weights WrongWeights 2",
        without_a_weight,
        "Copy the model folder again as a whole",
    ),
]


@pytest.mark.parametrize(("key", "damage", "words"), DAMAGES)
def test_a_model_folder_is_copied_again(refuse, order, trained_run, model, key, damage, words):
    damage(model)
    refusal = refuse(key, *order(model=model)).asks(words)
    shutil.copytree(trained_run / "fold_0" / "model", model, dirs_exist_ok=True)
    refusal.works()


def test_a_model_of_an_older_network_is_trained_again(refuse, order, trained_run, model):
    config = model / "config.json"
    today = config.read_bytes()
    config.write_text(json.dumps(json.loads(today) | {"format": 1}))
    refusal = refuse("inference/bundle_files.py check_age NotAModel", *order(model=model)).asks("Train it again")
    config.write_bytes(today)  # as training it again writes it
    refusal.works()


def test_weights_that_are_not_needed(refuse, order, command):
    refusal = refuse("inference/bundle_trunk.py with_trunk UsageError", *order(), "--weights", "sam.pth")
    refusal.asks("Leave out --weights")
    assert command(*order())[0] == 0


def test_a_trunk_that_was_moved(refuse, order, on_sam, tmp_path):
    model, weights = on_sam
    weights.rename(tmp_path / "moved.pth")
    refusal = refuse("inference/bundle.py load_bundle WeightsNotFound", *order(model=model))
    refusal.works(refusal.take("present place with (--weights)"), tmp_path / "moved.pth")


def test_a_trunk_that_was_changed(refuse, order, on_sam, tmp_path):
    model, weights = on_sam
    weights.rename(tmp_path / "original.pth")
    write_sam(weights, seed=1)
    refusal = refuse("inference/bundle_trunk.py check_trunk TrunkChanged", *order(model=model))
    refusal.works(refusal.take("original weights with (--weights)"), tmp_path / "original.pth")


# --- the Python interface ---


def test_a_model_that_does_not_walk(refuse_call, trained_run, tmp_path, scan):
    from dataclasses import replace

    from sautomed.model.stack_segmenter import StackSegmenter

    model = sautomed.load(trained_run, "cpu")

    class Stack(StackSegmenter):
        def __init__(self):
            torch.nn.Module.__init__(self)

        encode = losses = logits = forward = None

    other = type(model)(replace(model.bundle, network=Stack()), model.device, model.folder)
    volume = model.read(scan)
    refusal = refuse_call("inference/model.py walk UsageError", lambda which: which.walk(volume), other)
    refusal.asks("Use a model of 3D-SAutoMed").works(model)


def test_prompts_are_taken_from_the_truth(refuse_call, trained_run, scan):
    from sautomed.inference.view import NetworkView
    from sautomed.scans.volume import LabelMap

    model = sautomed.load(trained_run, "cpu")
    volume = model.read(scan)
    truth = LabelMap(np.zeros(volume.array.shape, np.uint8), volume.affine, volume.native, volume.plane, model.labels)

    def truth_of(labels):
        return NetworkView(volume, model.settings.data, torch.device("cpu"), model.labels, labels).truth([0])

    refusal = refuse_call("inference/view.py truth PromptsNeeded", truth_of, None)
    refusal.asks("which takes the prompts from the truth").works(truth)


def test_values_that_are_not_declared_are_declared(refuse_call):
    from sautomed.inference.resize import consecutive

    labels = np.array([[0, 1, 7]], np.uint8)
    refusal = refuse_call("inference/resize.py consecutive UnknownLabels", consecutive, labels, [1], "a")
    value = int(refusal.asks("Declare them").take(r"label values \[(\d+)\]"))
    refusal.works(labels, [1, value], "a")
