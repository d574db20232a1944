"""Refusals of `segment --prompts`, followed to the letter."""

import json
import shutil

import pytest

from sautomed.inference.prompts import file as prompts_file

from ..bad_input.conftest import noise, write


@pytest.fixture
def scan(tmp_path):
    return write(tmp_path / "scan.nii.gz")


@pytest.fixture
def segment(trained_run, scan, tmp_path):
    """Return the command that segments a scan, with changes."""

    def command_of(source=scan, model=trained_run, output=tmp_path / "out.nii.gz"):
        return "segment", "-i", source, "-m", model, "-o", output, "--no-preview", "--overwrite"

    return command_of


@pytest.fixture
def prompts(command, segment, tmp_path):
    """A file of prompts of the scan."""
    assert command(*segment())[0] == 0
    return tmp_path / "out.prompts.json"


@pytest.fixture
def other_model(trained_run, tmp_path):
    """A model folder of the same network, whose files are other ones."""
    folder = shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "other")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text())))
    return folder


def replayed(prompts):
    return "--prompts", prompts


def test_a_folder_of_scans(refuse, segment, prompts, scan, tmp_path):
    write(tmp_path / "in" / "a.nii.gz")
    key = "inference/batch/planning.py _plan UsageError 2"
    refusal = refuse(key, *segment(tmp_path / "in", output=tmp_path / "out"), *replayed(prompts))
    option, name = refusal.take(r"Give (-i) the scan itself, (\S+)\.$")
    refusal.works(option, scan.with_name(name))


@pytest.mark.parametrize("cure", ["scan", "force"])
def test_another_scan(refuse, segment, prompts, scan, tmp_path, cure):
    other = write(tmp_path / "b.nii.gz", noise() + 1)
    refusal = refuse(
        "inference/prompts/check.py require_same_scan PromptsMismatch", *segment(other), *replayed(prompts)
    )
    assert refusal.take(r"made for a scan (\S+) with hash [0-9a-f]{12}\.\.\.") == scan.name
    if cure == "scan":
        refusal.works(refusal.take("Give (-i) the scan that it was made for"), scan)
    else:
        refusal.works(refusal.take("use (--force-prompts)"))


@pytest.mark.parametrize("cure", ["options", "force"])
def test_the_scan_read_with_other_options(refuse, segment, command, tmp_path, cure):
    scan = write(tmp_path / "a.nii.gz", noise((8, 8, 4, 2)))
    assert command(*segment(scan), "--frame", 1)[0] == 0
    key = "inference/prompts/check.py require_same_scan PromptsMismatch 2"
    refusal = refuse(key, *segment(scan), "--frame", 0, *replayed(tmp_path / "out.prompts.json"))
    if cure == "options":
        refusal.works(*refusal.take(r"read with other options: (--\w+) (\d+)\."))
    else:
        refusal.works(refusal.take("use (--force-prompts)"))


@pytest.mark.parametrize("cure", ["model", "force"])
def test_another_model(refuse, segment, prompts, trained_run, other_model, cure):
    key = "inference/prompts/check.py require_same_model PromptsMismatch"
    refusal = refuse(key, *segment(model=other_model), *replayed(prompts))
    if cure == "model":
        refusal.works(refusal.take("Give (-m) the model that it was made with"), trained_run)
    else:
        refusal.works(refusal.take("use (--force-prompts)"))


def test_a_scan_of_another_size_even_by_force(refuse, segment, prompts, scan, tmp_path):
    other = write(tmp_path / "b.nii.gz", noise((9, 8, 5)))
    given = (*segment(other), *replayed(prompts), "--force-prompts")
    refusal = refuse("inference/prompts/check.py require_fits PromptsMismatch", *given)
    refusal.works(refusal.take("Give (-i) the scan that it was made for"), scan)


def test_a_model_of_other_organs_even_by_force(refuse, segment, prompts, trained_run, other_model):
    dataset = other_model / "dataset.json"
    dataset.write_text(dataset.read_text().replace('"bright"', '"lung"'))
    given = (*segment(model=other_model), *replayed(prompts), "--force-prompts")
    refusal = refuse("inference/prompts/check.py require_fits PromptsMismatch 2", *given)
    refusal.works(refusal.take("Give (-m) the model that it was made with"), trained_run)


@pytest.mark.parametrize("kind", ["damaged", "version"])
def test_a_file_that_cannot_be_read(refuse, segment, command, prompts, kind):
    text, first = prompts.read_text(), "sautomed prompts 1"
    prompts.write_text(text[:-9] if kind == "damaged" else text.replace(first, "sautomed prompts 2"))
    keys = {
        "damaged": "inference/prompts/file.py read_prompts BadPrompts 2",
        "version": "inference/prompts/file.py _refuse_other_schema BadPrompts",
    }
    refusal = refuse(keys[kind], *segment(), *replayed(prompts))
    refusal.take(r"[Ss]egment the scan again")
    assert command(*segment())[0] == 0
    refusal.works()


def test_a_file_that_is_too_large(refuse, segment, prompts, monkeypatch, tmp_path):
    monkeypatch.setattr(prompts_file, "LARGEST_BYTES", prompts.stat().st_size)
    (tmp_path / "large.json").write_text(prompts.read_text() + " ")
    key = "inference/prompts/file.py read_prompts BadPrompts"
    refusal = refuse(key, *segment(), *replayed(tmp_path / "large.json"))
    refusal.asks("Give the file that `sautomed segment` wrote")
    refusal.works(*replayed(prompts))
