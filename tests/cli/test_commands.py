"""The command line: what each command prints, and its exit code."""

import json
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import torch
import yaml

from sautomed import cli, errors
from sautomed.inference.prompts.document import GivenAbsence, GivenMask
from sautomed.inference.prompts.file import read_prompts, write_prompts
from sautomed.scans import read_stored

from ..scans.dicom.build import make_series

SLOW = ("transformers", "torch._dynamo", "sympy", "lightning", "matplotlib", "scipy.optimize", "openvino", "h5py")
HEAVY = ("torch", "transformers", "lightning", "matplotlib", "monai", "nibabel", "scipy", "pydicom", "highdicom")


@pytest.fixture
def command(capsys):
    """Run the command line in this process: its exit code, and what it wrote to stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def noise(shape=(40, 32, 6)):
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)


def write(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(noise() if array is None else array, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return path


def on_one_line(text):
    """Return text without line breaks, which depend on the width of the terminal."""
    return " ".join(text.split())


# --- 0: the journey ---


@pytest.mark.slow
def test_train_segment_evaluate_and_info(command, dataset_folder, small_settings, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_settings.model_dump(mode="json")))
    run, masks, scores = (tmp_path / name for name in ("run", "masks", "scores"))
    options = ("-c", tmp_path / "small.yaml", "--set", "train.steps=2", "--device", "cpu")
    code, text, _ = command("train", "-d", dataset_folder, "-o", run, "-f", "1", *options)
    assert (code, text) == (0, f"Model: {run / 'fold_1' / 'model'}\n")
    config = json.loads((run / "fold_1" / "config.json").read_text())
    assert (config["preset"], config["train"]["steps"]) == ("small", 2)

    code, text, _ = command("segment", "-i", dataset_folder / "imagesTr", "-m", run, "-o", masks)
    assert code == 0
    assert text.splitlines() == [str(masks / f"block_{number}.nii.gz") for number in range(6)]
    assert (masks / "block_0.png").exists()

    code, text, _ = command("evaluate", "-p", masks, "-r", dataset_folder / "labelsTr", "-o", scores)
    assert code == 0
    for word in ("bright", "dark", "mean", "DSC", "HD95"):
        assert word in text
    summary = json.loads((scores / "summary.json").read_text())
    assert f"{summary['foreground_mean']['Dice']:.3f}" in text
    assert (scores / "scores.csv").exists()

    assert command("info", run)[0] == 0


def test_scores_by_another_convention(command, tmp_path):
    array = np.zeros((8, 8, 6), np.uint8)
    array[2:5, 2:5, 2:5] = 1
    write(tmp_path / "truth" / "a.nii.gz", array)
    write(tmp_path / "masks" / "a.nii.gz", np.roll(array, 1, axis=2))
    folders = ("-p", tmp_path / "masks", "-r", tmp_path / "truth", "-o", tmp_path / "scores")
    code, text, _ = command("evaluate", *folders, "--convention", "transunet")
    assert (code, "HD95 voxels" in on_one_line(text), "NSD" in text) == (0, True, False)
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["convention"] == "transunet"
    code, _, text = command("evaluate", *folders, "--convention", "medpy")
    assert code == 2
    assert "no metric convention 'medpy'" in on_one_line(text)
    assert "ours, transunet, monai" in on_one_line(text)


def test_a_file_without_a_preview(command, trained_run, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    code, text, _ = command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "b.nii", "--no-preview")
    assert (code, text) == (0, f"{tmp_path / 'b.nii'}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii", "b.prompts.json"]


def test_an_engine_is_named_in_the_report_and_a_result_of_another_is_made_again(
    command, trained_run, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("sautomed.inference.engine.compute._in_openvino", lambda network, *_: network)
    order = ("segment", "-i", write(tmp_path / "a.nii.gz"), "-m", trained_run, "-o", tmp_path / "b.nii", "--resume")
    assert command(*order)[0] == 0
    caplog.clear()
    assert command(*order, "--engine", "openvino")[0] == 0
    assert "computed by OpenVINO in float32" in caplog.text
    assert "segmented again: it was made with other settings" in caplog.text
    settings = json.loads((tmp_path / "b.json").read_text())["settings"]
    assert (settings["engine"], settings["precision"]) == ("openvino", "32")
    assert "1 of 1 scans were done already" in on_one_line(command(*order, "--engine", "openvino")[2])


def test_prompts_give_the_same_masks_and_the_same_prompts_again(command, trained_run, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    order = ("segment", "-i", scan, "-m", trained_run)
    assert command(*order, "-o", tmp_path / "first.nii.gz")[0] == 0
    prompts = tmp_path / "first.prompts.json"
    document = read_prompts(prompts)
    painted = GivenMask(runs=(10, 20, 40 * 32 - 30))
    write_prompts(prompts, document.with_edits({(2, "dark"): painted, (4, "bright"): GivenAbsence()}, (), ()))
    for name in ("second", "third"):
        assert command(*order, "-o", tmp_path / f"{name}.nii.gz", "--prompts", prompts)[0] == 0
        prompts = tmp_path / f"{name}.prompts.json"
    for ending in ("nii.gz", "prompts.json", "png"):
        first, second, third = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("first", "second", "third"))
        assert second == third != first
    dark = read_prompts(prompts).slices[2].organs["dark"]
    assert dark.mask_box == dark.box


@pytest.mark.parametrize("depth", [1, 2])
def test_one_and_two_slices_work(command, trained_run, tmp_path, depth):
    scan = write(tmp_path / "thin.nii.gz", noise((40, 32, depth)))
    assert command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "out.nii.gz")[0] == 0
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (40, 32, depth)


@pytest.mark.slow
def test_a_phantom_is_a_data_set(command, tmp_path):
    from sautomed.datasets import read_dataset

    folder = tmp_path / "Dataset900_Phantom"
    code, text, _ = command("phantom", "-o", folder, "-n", "1", "--kind", "thorax-ct", "--seed", "3")
    assert (code, text) == (0, f"1 phantoms: {folder}\n")
    dataset = read_dataset(folder)
    assert (len(dataset.cases), dataset.channel, len(dataset.labels)) == (1, "CT", 4)
    volume, labels = dataset.load(dataset.cases[0])
    assert volume.array.min() < -500
    assert len(np.unique(labels.array)) > 2


def test_info_describes_a_scan(command, tmp_path):
    code, text, _ = command("info", write(tmp_path / "a.nii.gz"))
    assert code == 0
    for words in ("40 x 32 x 6", "2 x 2 x 5 mm", "RAS", "axial"):
        assert words in on_one_line(text)


@pytest.mark.parametrize("part", ["fold_0/model", ""])
def test_info_describes_a_model_or_a_run(command, trained_run, part):
    code, text, _ = command("info", trained_run / part)
    assert code == 0
    for words in ("bright", "numbers in", "model folder" if part else "fold_0"):
        assert words in on_one_line(text)


@pytest.mark.parametrize("target", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_dicom_folder_is_converted_in_one_line(command, tmp_path, target):
    series = make_series(tmp_path / "scan")
    code, text, warned = command("convert", "-i", tmp_path / "scan", "-o", tmp_path / target)
    assert (code, text, warned) == (0, f"{tmp_path / target}\n", "")
    written = read_stored(tmp_path / target)
    np.testing.assert_array_equal(written.voxels, series.voxels)
    np.testing.assert_allclose(written.geometry.affine, series.affine, atol=1e-4)
    assert command("convert", "-i", tmp_path / "scan", "-o", tmp_path / target)[0] == 2  # it exists already
    assert command("convert", "-i", tmp_path / "scan", "-o", tmp_path / target, "--overwrite")[0] == 0


def test_of_two_series_one_is_named(command, tmp_path):
    for name in ("portal", "arterial"):
        make_series(tmp_path / "scan" / name, SeriesDescription=name)
    code, text, _ = command("info", tmp_path / "scan")
    assert code == 0
    for words in ("portal", "arterial", "name one with --series"):
        assert words in on_one_line(text)
    target = tmp_path / "a.nii.gz"
    code, _, fault = command("convert", "-i", tmp_path / "scan", "-o", target)
    assert code == 3
    for words in ("SAM-E0351", "portal", "arterial", "--series"):
        assert words in fault
    assert command("convert", "-i", tmp_path / "scan", "-o", target, "--series", "arterial")[0] == 0
    assert "arterial" in on_one_line(command("info", tmp_path / "scan", "--series", "arterial")[1])


def test_a_warning_about_a_scan_is_printed_when_it_is_converted(command, tmp_path):
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), None)  # neither qform nor sform
    nibabel.save(image, tmp_path / "a.nii")
    code, _, fault = command("convert", "-i", tmp_path / "a.nii", "-o", tmp_path / "b.nrrd")
    assert code == 3
    assert "--assume-spacing" in fault
    code, _, warned = command("convert", "-i", tmp_path / "a.nii", "-o", tmp_path / "b.nrrd", "--assume-spacing")
    assert code == 0
    assert warned.startswith("Warning: ")


def test_names_with_brackets_are_printed_unchanged(command, trained_run, tmp_path):
    """Brackets are markup to the library that prints."""
    scan = write(tmp_path / "[red]a[/b].nii.gz".replace("/", "-"))
    code, text, _ = command("info", scan)
    assert code == 0
    assert "[red]a[-b].nii.gz" in "".join(text.split())
    code, text, _ = command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "[bold]out")
    assert (code, text) == (0, f"{tmp_path / '[bold]out' / '[red]a[-b].nii.gz'}\n")
    assert "[red]missing" in command("info", tmp_path / "[red]missing")[2]


@pytest.mark.parametrize("verb", ["", "demo", "phantom", "train", "segment", "evaluate", "convert", "info", "doctor"])
def test_help_imports_nothing_heavy(verb):
    code = (
        "import sys; from sautomed.cli import run; code = run(sys.argv[1:]); print('LOADED', *sys.modules); exit(code)"
    )
    arguments = [*([verb] if verb else []), "--help"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    text, _, loaded = done.stdout.partition("LOADED")
    assert done.returncode == 0, done.stderr
    assert "Usage" in text
    assert not set(HEAVY) & set(loaded.split())


def test_a_small_network_segments_without_what_takes_seconds_to_import(trained_run, tmp_path):
    scan, mask = write(tmp_path / "a.nii.gz"), tmp_path / "mask.nii.gz"
    code = "import sys; from sautomed.cli import run; code = run(sys.argv[1:]); print(*sys.modules); exit(code)"
    arguments = ("segment", "-i", scan, "-m", trained_run, "-o", mask, "--no-preview")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert mask.exists()
    assert "torch" in done.stdout.split()
    assert not set(SLOW) & set(done.stdout.split())


def test_merging_imports_no_network(tmp_path):
    """It reads small files alone, and importing PyTorch would take seconds."""
    report = {"schema": "sautomed case 1", "case": "a", "status": "done", "model": {"path": "RUN", "sha256": "0" * 64}}
    (tmp_path / "a.json").write_text(json.dumps(report))
    code = "import sys; from sautomed.cli import run; run(sys.argv[1:]); print('LOADED', *sys.modules)"
    order = [sys.executable, "-c", code, "merge", str(tmp_path)]
    text, _, loaded = subprocess.run(order, capture_output=True, text=True, check=True).stdout.partition("LOADED")
    assert "1 cases" in text
    assert not {"torch", "transformers", "lightning", "matplotlib", "monai"} & set(loaded.split())


# --- 2: the command itself ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "-c", "tiny", "--set", "train.bach=4"), ["train.bach", "docs/settings.md"]),
        (("train", "-c", "tiny", "--set", "train.batch=none"), ["train.batch"]),
        (("train", "-c", "tiny", "--set", "train.batch"), ["train.batch", "name=value"]),
        (("train", "-c", "huge"), ["huge", "tiny", "sam-vit-b"]),
        (("train", "-c", "tiny", "--frobnicate"), ["--frobnicate"]),
        (("train", "-c", "tiny", "-f", "first"), ["first", "all"]),
        (("train", "-c", "tiny", "--device", "gpu"), ["gpu", "auto or cpu"]),
        (("train", "-c", "tiny", "--seed", "-1"), ["--seed"]),
        (("train", "-c", "tiny", "--max-minutes", "0"), ["--max-minutes"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_options_are_refused_before_any_work(command, dataset_folder, tmp_path, arguments, words):
    code, _, text = command(*arguments, "-d", dataset_folder, "-o", tmp_path / "run")
    assert code == 2
    for word in words:
        assert word in text
    assert not (tmp_path / "run").exists()


def test_unknown_verbs_kinds_and_missing_options(command, tmp_path):
    assert command("classify")[0] == 2
    assert command("segment", "-i", tmp_path)[0] == 2
    code, _, text = command("phantom", "-o", tmp_path, "--kind", "brain-mr")
    assert code == 2
    assert "thorax-ct" in text


def test_existing_outputs_are_kept_without_overwrite(command, trained_run, tmp_path):
    write(tmp_path / "a.nii.gz")
    (tmp_path / "out.nii.gz").write_bytes(b"mine")
    order = ("segment", "-i", tmp_path / "a.nii.gz", "-m", trained_run, "-o", tmp_path / "out.nii.gz")
    code, _, text = command(*order)
    assert code == 2
    assert "--overwrite" in text
    assert (tmp_path / "out.nii.gz").read_bytes() == b"mine"
    assert command(*order, "--overwrite")[0] == 0
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (40, 32, 6)


# --- 3: data ---


def missing(path):
    return path


def not_nifti(path):
    path.write_text("patient,organ\n")
    return path


def truncated(path):
    write(path).write_bytes(path.read_bytes()[:-2000])
    return path


def four_axes(path):
    return write(path, noise((8, 8, 4, 3)))


def not_numbers(path):
    array = noise()
    array[:, :, 2] = np.nan
    return write(path, array)


def constant(path):
    return write(path, np.full((8, 8, 4), 7, np.int16))


BAD_SCANS = {
    missing: ["SAM-E0301", "does not exist"],
    not_nifti: ["SAM-E0302", "is no scan that can be read"],
    truncated: ["SAM-E0303", "truncated", "compressed stream breaks off"],
    four_axes: ["SAM-E0304", "4 axes of lengths 8 x 8 x 4 x 3", "--frame 0 to --frame 2"],
    not_numbers: ["SAM-E0305", "NaN"],
    constant: ["SAM-E0306", "constant image", "7"],
}


@pytest.mark.parametrize("spoil", BAD_SCANS, ids=lambda spoil: spoil.__name__)
def test_a_bad_scan_is_named_with_its_fault_and_a_cure(command, trained_run, tmp_path, spoil):
    scan = spoil(tmp_path / "case 7.nii.gz")
    code, _, text = command("segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "out.nii.gz")
    assert code == 3
    for words in (*BAD_SCANS[spoil], str(scan)):
        assert words in text
    assert "Traceback" not in text
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_fold_out_of_range_and_a_folder_that_is_no_data_set(command, dataset_folder, tmp_path):
    code, _, text = command("train", "-d", dataset_folder, "-o", tmp_path / "run", "-c", "tiny", "-f", "9")
    assert code == 3
    assert "fold 9 is out of range" in text
    code, _, text = command("train", "-d", tmp_path, "-o", tmp_path / "run2", "-c", "tiny")
    assert code == 3
    assert "dataset.json" in text


# --- 4: models ---


def test_no_model(command, tmp_path):
    write(tmp_path / "a.nii.gz")
    (tmp_path / "empty").mkdir()
    for place, words in (("empty", "holds no model"), ("nowhere", "does not exist")):
        code, _, text = command("segment", "-i", tmp_path / "a.nii.gz", "-m", tmp_path / place, "-o", tmp_path / "out")
        assert code == 4
        assert words in text


def test_a_damaged_model(command, trained_run, tmp_path):
    folder = shutil.copytree(trained_run / "fold_0" / "model", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"cut short")
    code, _, text = command("segment", "-i", write(tmp_path / "a.nii.gz"), "-m", folder, "-o", tmp_path / "out")
    assert code == 4
    assert "model.safetensors" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [({"w_a_000": torch.zeros(4, 4)}, "SAMed"), (b"<html>404</html>", "web page"), (None, "weights.pth")],
    ids=["another network", "a failed download", "nothing there"],
)
def test_weights_of_the_wrong_kind(command, dataset_folder, tmp_path, content, words):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    options = ("--weights", path, "--set", "data.image_size=128", "--device", "cpu")
    code, _, text = command("train", "-d", dataset_folder, "-o", tmp_path / "run", *options)
    assert code == 4
    assert words in text


def test_nothing_to_resume(command, dataset_folder, tmp_path):
    code, _, text = command("train", "-d", dataset_folder, "-o", tmp_path / "run", "-c", "tiny", "--resume")
    assert code == 4
    assert "last.ckpt" in text
    code, _, text = command("train", "-d", dataset_folder, "-o", tmp_path / "run", "--resume")
    assert (code, "without --resume" in text) == (4, True)


# --- 6: some cases ---


def test_a_folder_is_worked_through_and_the_bad_scans_are_listed(command, trained_run, tmp_path):
    for name in ("a", "c"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    constant(tmp_path / "in" / "b.nii.gz")
    code, text, faults = command("segment", "-i", tmp_path / "in", "-m", trained_run, "-o", tmp_path / "out")
    assert code == 6
    assert text.splitlines() == [str(tmp_path / "out" / f"{name}.nii.gz") for name in "ac"]
    for words in ("b.nii.gz: is a constant image", "1 of 3 scans failed"):
        assert words in faults
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]


def test_a_folder_ends_with_the_cases_to_look_at(command, trained_run, tmp_path):
    """A network of four steps is sure of nothing. It was validated on two cases, too few to calibrate."""
    for name in ("p1", "p2"):
        write(tmp_path / "in" / f"{name}.nii.gz")
    order = ("segment", "-i", tmp_path / "in", "-m", trained_run, "-o", tmp_path / "out", "--no-preview")
    code, text, notes = command(*order)
    listed = json.loads((tmp_path / "out" / "summary.json").read_text())["cases"]
    assert code == 0
    assert [case["case"] for case in listed] == ["p1", "p2"]
    assert all(case["review"] and not case["calibrated"] for case in listed)
    for words in ("look at", "(uncalibrated)", "p1", "p2"):
        assert words in notes
    assert text.splitlines() == [str(tmp_path / "out" / f"{name}.nii.gz") for name in ("p1", "p2")]
    assert "look at" in command(*order, "--resume")[2]  # both were done, and are still to be looked at
    assert "look at" not in command(*order, "--overwrite", "-q")[2]


def test_a_list_in_shards_is_merged(command, trained_run, tmp_path, monkeypatch, caplog):
    for number in (1, 2, 3):
        write(tmp_path / "in" / f"p{number}.nii.gz", noise((24, 24, 3)) + number)
    constant(tmp_path / "in" / "p4.nii.gz")
    rows = [f"p{number},in/p{number}.nii.gz" for number in (1, 2, 3, 4)]
    (tmp_path / "cohort.csv").write_text("\n".join(("case,path", *rows)))
    order = ("segment", "--list", tmp_path / "cohort.csv", "-m", trained_run, "-o", tmp_path / "out", "--no-preview")
    code, text, _ = command(*order, "--shard", "1/2")
    assert (code, text.splitlines()) == (0, [str(tmp_path / "out" / f"p{number}.nii.gz") for number in (1, 3)])
    code, _, faults = command("merge", tmp_path / "out")
    assert (code, "shards that have not begun: 2/2" in faults) == (6, True)
    for name, value in {"ID": "11", "COUNT": "2", "MIN": "10"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    code, text, faults = command(*order, "--resume")
    assert (code, text.splitlines()) == (6, [str(tmp_path / "out" / "p2.nii.gz")])
    assert "segments shard 2/2: 2 of 4 scans" in caplog.text
    assert "also in failures.shard-2-of-2.json" in on_one_line(faults)
    code, text, faults = command("merge", tmp_path / "out", "--list", tmp_path / "cohort.csv")
    assert (code, text) == (6, f"4 cases: {tmp_path / 'out' / 'summary.json'}\n")
    assert "cases that failed: p4." in on_one_line(faults)
    write(tmp_path / "in" / "p4.nii.gz")
    assert command(*order, "--resume")[0] == 0
    assert command("merge", tmp_path / "out")[0] == 0
    listed = json.loads((tmp_path / "out" / "summary.json").read_text())["cases"]
    assert sorted(case["case"] for case in listed) == ["p1", "p2", "p3", "p4"]


def test_scores_of_the_good_cases_are_shown_although_one_is_bad(command, dataset_folder, tmp_path):
    masks = shutil.copytree(dataset_folder / "labelsTr", tmp_path / "masks")
    (masks / "block_3.nii.gz").write_text("nothing")
    code, text, faults = command("evaluate", "-p", masks, "-r", dataset_folder / "labelsTr", "-o", tmp_path / "scores")
    assert code == 6
    assert "block_3" in faults
    assert "1.000" in text


# --- doctor ---


@pytest.fixture
def strange_dataset(dataset_folder, tmp_path):
    """The blocks, one of which has a label value without a name."""
    folder = shutil.copytree(dataset_folder, tmp_path / "Dataset042_Blocks")
    path = folder / "labelsTr" / "block_2.nii.gz"
    labels = nibabel.load(path)
    array = np.asarray(labels.dataobj).copy()
    array[0, 0, :2] = 9
    nibabel.save(nibabel.Nifti1Image(array, labels.affine), path)
    return folder


def test_a_sound_dataset_passes_the_doctor(command, dataset_folder, tmp_path):
    code, text, faults = command("doctor", dataset_folder, "-o", tmp_path / "page.html", "-q")
    assert (code, faults) == (0, "")
    assert "6 cases: no errors" in text
    assert "block_5" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_doctor_lists_what_must_be_corrected_and_exits_3(command, strange_dataset, tmp_path):
    code, text, faults = command("doctor", strange_dataset, "-o", tmp_path / "page.html")
    assert code == 3
    assert "SAM-E0325" in faults
    for words in ("9 (2 voxels)", "block_2"):
        assert words in on_one_line(text)
    assert "block_2" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_doctor_writes_corrected_copies(command, strange_dataset, tmp_path):
    code, text, _ = command("doctor", strange_dataset, "--fix", tmp_path / "whole", "--map", "9=1")
    assert code == 0
    assert "6 of 6 cases written" in on_one_line(text)
    assert command("doctor", tmp_path / "whole")[0] == 0
    code, text, faults = command("doctor", strange_dataset, "--fix", tmp_path / "part")
    assert code == 3
    assert "block_2" in faults
    assert "5 of 6 cases written" in on_one_line(text)
    assert command("doctor", strange_dataset, "--fix", tmp_path / "part")[0] == 2  # it exists now
    assert command("doctor", strange_dataset, "--map", "9")[0] == 2


# --- 1, 5 and 130: errors that no verb expects ---


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Stopped"),
        (errors.Terminated(), 143, "Stopped"),
        (EOFError("nothing more to read"), 1, "bug in sautomed"),
        (MemoryError(), 5, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), 5, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "out of memory"),
        (ZeroDivisionError("division by zero"), 1, "bug in sautomed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("verb", ["train", "segment"])
def test_unexpected_errors_have_an_exit_code(command, dataset_folder, tmp_path, monkeypatch, verb, fault, code, words):
    def stop(*_, **__):
        raise fault

    monkeypatch.setattr("sautomed.training.train.prepare_fold", stop)
    monkeypatch.setattr("sautomed.inference.model.load", stop)
    source = ("-d", dataset_folder, "-c", "tiny") if verb == "train" else ("-i", dataset_folder / "imagesTr", "-m", "x")
    found, _, text = command(verb, *source, "-o", tmp_path / "out")
    assert found == code
    assert words in text
    assert ("Traceback" in text) == (code == 1)


def test_only_a_training_with_a_checkpoint_promises_that_it_goes_on(command, dataset_folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sautomed.training.train.prepare_fold", stop)
    order = ("train", "-d", dataset_folder, "-c", "tiny", "-o", tmp_path / "run")
    code, _, text = command(*order)
    assert (code, "nothing to resume" in text) == (130, True)
    folder = tmp_path / "run" / "fold_0" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"global_step": 1}, folder / "last.ckpt")
    code, _, text = command(*order, "--resume", "--set", "train.steps=4")
    assert (code, "goes on with --resume" in text) == (130, True)
