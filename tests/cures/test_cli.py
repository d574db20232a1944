"""Refusals of the command line, of settings and of phantoms, followed to the letter."""

import os
import shutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from ..bad_input.conftest import write
from ..scans.dicom.build import make_series

ROOT = Path(__file__).parents[2]
needs_permissions = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")


@pytest.fixture
def train_order(blocks, tmp_path, stop_before_steps):
    """The command that trains on the blocks, up to the first step, without its settings."""
    return "train", "-d", blocks.folder, "-o", tmp_path / "run", "--device", "cpu", "--set", "data.image_size=128"


@pytest.mark.parametrize("kept", ["-v", "-q"])
def test_options_that_contradict_each_other(refuse, command, tmp_path, kept):
    order = "info", write(tmp_path / "a.nii.gz")
    refuse("cli/verbosity.py choose_verbosity UsageError", *order, "-v", "-q").asks("Give one of them")
    assert command(*order, kept)[0] == 0


# --- studio ---


@pytest.fixture
def studio_order(monkeypatch, tmp_path):
    """The command studio up to where it would serve, in an empty folder."""
    monkeypatch.setattr("sautomed.studio.start_studio", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return "studio", "--no-browser"


@pytest.mark.parametrize("cure", ["-m", "--demo"])
def test_the_studio_needs_a_model_or_its_demo(refuse, studio_order, trained_run, cure):
    refusal = refuse("cli/studio_command.py _model_of UsageError 2", *studio_order)
    refusal.asks(f"with {cure}").works(*([cure, trained_run] if cure == "-m" else [cure]))


@pytest.mark.parametrize("option", ["-m", "-i"])
def test_the_studios_demo_takes_no_other_model_or_scan(refuse, command, studio_order, trained_run, option):
    key = "cli/studio_command.py _model_of UsageError"
    own = {"-m": trained_run, "-i": trained_run.parent}
    refuse(key, *studio_order, "--demo", option, own[option]).asks("Leave out -m and -i", "leave out --demo")
    assert command(*studio_order, "--demo")[0] == 0
    assert command(*studio_order, "-m", own["-m"], "-i", own["-i"])[0] == 0


# --- convert, info, phantom, demo ---


def test_the_scan_itself_is_no_output(refuse, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    refusal = refuse("cli/convert.py convert_file TargetExists", "convert", "-i", scan, "-o", scan)
    refusal.works(refusal.take("Give another (-o)"), tmp_path / "b.nii.gz")


@pytest.mark.parametrize("cure", ["overwrite", "another"])
def test_an_output_that_exists(refuse, tmp_path, cure):
    scan, target = write(tmp_path / "a.nii.gz"), write(tmp_path / "b.nii.gz")
    refusal = refuse("cli/convert.py convert_file TargetExists 2", "convert", "-i", scan, "-o", target)
    refusal.asks("Choose another name")
    if cure == "overwrite":
        refusal.works(refusal.take("allow it with (--overwrite)"))
    else:
        refusal.works("-o", tmp_path / "c.nii.gz")


def test_a_folder_that_info_cannot_describe(refuse, command, trained_run, tmp_path):
    (tmp_path / "empty").mkdir()
    refusal = refuse("cli/info.py describe NotAModel", "info", tmp_path / "empty")
    refusal.asks("Name a scan, a folder with DICOM files, or the folder that training wrote")
    make_series(tmp_path / "series")
    for place in (write(tmp_path / "a.nii.gz"), tmp_path / "series", trained_run):
        assert command("info", place)[0] == 0


def test_weights_that_info_cannot_read(refuse, trained_run, tmp_path):
    model = shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "model")
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(b"cut")
    refusal = refuse("cli/info.py _weights_line NotAModel", "info", model).asks("copy the model again")
    (model / "model.safetensors").write_bytes(content)
    refusal.works()


def test_a_path_that_no_system_opens(refuse, command, tmp_path):
    refusal = refuse("cli/places.py require_usable UsageError", "info", tmp_path / ("a" * 300))
    refusal.asks("Correct the path, or give another")
    assert command("info", write(tmp_path / "a.nii.gz"))[0] == 0


def test_a_phantom_kind(refuse, monkeypatch, tmp_path):
    monkeypatch.setattr("sautomed.phantom.write_phantoms", lambda *_, **__: None)
    refusal = refuse("cli/model_commands.py phantom UsageError", "phantom", "-o", tmp_path / "p", "--kind", "brain")
    for kind in refusal.take(r"Use one of (.+)\.").split(", "):
        refusal.works("--kind", kind)


@pytest.mark.parametrize("cure", ["another", "empty"])
def test_a_place_for_the_demo(refuse, monkeypatch, tmp_path, cure):
    def done(*_, **__):
        raise typer.Exit

    monkeypatch.setattr(import_module("sautomed.cli.demo"), "write_phantoms", done)  # cli.demo is the command
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine").touch()
    if cure == "another":
        refusal = refuse("cli/demo.py run_demo TargetExists", "demo", "-o", tmp_path / "demo" / "mine")
        refusal.works(refusal.take("another place with (-o)"), tmp_path / "new")
    refusal = refuse("cli/demo.py run_demo TargetExists 2", "demo", "-o", tmp_path / "demo")
    if cure == "another":
        refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")
    else:
        refusal.asks("or empty this one")
        (tmp_path / "demo" / "mine").unlink()
        refusal.works()


def test_phantoms_by_the_python_interface(refuse_call, monkeypatch, tmp_path):
    from sautomed.phantom import make_phantom, write_phantoms

    monkeypatch.setattr("sautomed.phantom.write.make_phantom", lambda *_: SimpleNamespace(image=0, labels=0))
    monkeypatch.setattr("sautomed.phantom.write._save", lambda *_: None)

    refusal = refuse_call("phantom/generate.py kind_named UnknownSetting", make_phantom, "brain", 0)
    refusal.works(refusal.take(r"Use one of ([\w-]+),"), 0)
    refusal = refuse_call("phantom/generate.py make_phantom UnknownSetting", make_phantom, "thorax-ct", -1)
    refusal.works("thorax-ct", int(refusal.take(r"Use (\d+) or more")))
    key = "phantom/write.py write_phantoms UnknownSetting"
    refusal = refuse_call(key, write_phantoms, tmp_path / "data", 0, "abdomen-ct", 0)
    refusal.works(tmp_path / "data", int(refusal.take(r"Give at least (\d+)")), "abdomen-ct", 0)


@pytest.mark.parametrize("cure", ["another", "empty"])
def test_phantoms_beside_other_scans(refuse, blocks, tmp_path, monkeypatch, cure):
    monkeypatch.setattr("sautomed.phantom.write.make_phantom", lambda *_: SimpleNamespace(image=0, labels=0))
    monkeypatch.setattr(
        "sautomed.phantom.write._save", lambda *_: None
    )  # what a phantom looks like is tested elsewhere
    order = ("phantom", "-o", blocks.folder, "-n", 1)
    refusal = refuse("phantom/write.py _refuse_other_scans TargetExists", *order)
    refusal.asks("Choose another folder or empty this one")
    if cure == "another":
        refusal.works("-o", tmp_path / "new")
    else:
        shutil.rmtree(blocks.folder)
        refusal.works()


# --- train: the fold, presets and settings ---


def test_a_fold_is_a_number_or_all(refuse, train_order):
    refusal = refuse("cli/model_commands.py _parse_fold UsageError", *train_order, "-c", "tiny", "-f", "first")
    for fold in refusal.take(r"a number from (\d), or (\w+)\."):
        refusal.works("-f", fold)


@pytest.mark.parametrize("cure", ["preset", "file"])
def test_a_preset_that_is_not_there(refuse, train_order, tmp_path, cure):
    refusal = refuse("config/load.py load_settings UnknownSetting", *train_order, "-c", "huge")
    assert {"tiny", "sam-vit-b"} <= set(refusal.take(r"Use one of (.+), or the path").split(", "))
    refusal.asks("or the path of a YAML file")
    (tmp_path / "mine.yaml").write_text("preset: mine\nmodel: {trunk: {kind: resnet}}\n")
    refusal.works("-c", "tiny" if cure == "preset" else tmp_path / "mine.yaml")


def test_a_setting_with_a_value_that_it_cannot_take(refuse, train_order):
    order = (*train_order, "-c", "tiny")
    refusal = refuse("config/load.py parse_settings UnknownSetting", *order, "--set", "train.batch=0")
    setting, least = refusal.take(r"(train\.\w+): Input should be greater than or equal to (\d+)")
    page = (ROOT / refusal.take(r"docs/\S+\.md")).read_text()
    assert f"`{setting}`" in page
    refusal.works("--set", f"{setting}={least}")


def test_a_setting_that_is_misspelt(refuse, command, train_order):
    order = (*train_order, "-c", "tiny")
    for wrong, right in (("train.bach", "train.batch"), ("model.history.token", "model.history.tokens")):
        refusal = refuse("config/load.py parse_settings UnknownSetting", *order, "--set", f"{wrong}=3")
        assert refusal.take(r"Did you mean (\S+)\?") == right
        assert command(*order, "--set", f"{right}=3")[0] == 0


@pytest.mark.parametrize("override", ["train.batch", "=4"])
def test_an_override_without_a_value(refuse, command, train_order, override):
    order = (*train_order, "-c", "tiny")
    refusal = refuse("config/load.py _apply UnknownSetting", *order, "--set", override)
    assert command(*order, *refusal.take(r"(--set) (\S+)\."))[0] == 0


def test_an_override_below_a_value(refuse, command, train_order):
    order = (*train_order, "-c", "tiny")
    refusal = refuse("config/load.py _apply UnknownSetting 2", *order, "--set", "train.batch.size=4")
    setting = refusal.take(r"Set (\S+) itself")
    assert command(*order, "--set", f"{setting}=4")[0] == 0


YAMLS = [
    ("config/load.py _parse_mapping UnknownSetting", b"- tiny\n", r"for example (.+)\."),
    ("config/load.py _read_text UnknownSetting", "preset: gr\xf6\xdfer\n".encode("latin-1"), r"Save it as (UTF-8)"),
    ("config/load.py _parse_yaml UnknownSetting", b"train: {batch: 4\n", r"Check (brackets), quotes and indentation"),
]


@pytest.mark.parametrize(("key", "content", "pattern"), YAMLS)
def test_a_file_of_settings_is_corrected(refuse, train_order, tmp_path, key, content, pattern):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    refusal = refuse(key, *train_order, "-c", path, "--set", "model.trunk.kind=resnet")
    found = refusal.take(pattern)
    if found == "UTF-8":
        path.write_text(content.decode("latin-1"), encoding=found)
    elif found == "brackets":
        path.write_bytes(content.replace(b"4\n", b"4}\n"))
    else:
        path.write_text(found)
    refusal.works()


@needs_permissions
def test_a_file_of_settings_that_may_not_be_read(refuse, train_order, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: mine\nmodel: {trunk: {kind: resnet}}\n")
    path.chmod(0)
    refusal = refuse("config/load.py _read_text UnknownSetting 2", *train_order, "-c", path)
    path.chmod(0o600)
    refusal.asks("Change its permissions").works()
