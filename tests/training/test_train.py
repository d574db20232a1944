"""A data set in, a run out: what is written, going on after a stop, fitting a time, and what is refused."""

import csv
import errno
import json
import os
import shutil
import signal
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sautomed import errors
from sautomed.datasets.rules import LabelRules
from sautomed.inference.bundle import load_bundle
from sautomed.inference.percentiles import describe_range, percentiles_of
from sautomed.scans import read_scan
from sautomed.training.plan import NO_CALLBACKS, Callbacks, TrainingPlan
from sautomed.training.prepared_fold import prepare_fold
from sautomed.training.slice_runs import SliceRunDataset
from sautomed.training.train import train


@pytest.fixture
def plan(dataset_folder, small_settings, tmp_path):
    """Plan a training of four steps into a folder of this test; keyword arguments change the plan."""

    def make(**changes):
        parts = {"dataset": dataset_folder, "run": tmp_path / "run", "settings": small_settings, "device": "cpu"}
        return TrainingPlan(**{**parts, **changes})

    return make


@pytest.fixture
def own_dataset(dataset_folder, tmp_path):
    """A copy of the blocks that a test may spoil."""
    return shutil.copytree(dataset_folder, tmp_path / "Dataset042_Blocks")


def changed(settings, **train_settings):
    return settings.model_copy(update={"train": settings.train.model_copy(update=train_settings)})


def checkpoint(run, name):
    return torch.load(run / "fold_0" / "checkpoints" / f"{name}.ckpt", weights_only=True)


def rows(run):
    with (run / "fold_0" / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def leaves(value):
    """The numbers in a nest of dicts and lists, in order."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value, key=str) for leaf in leaves(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def assert_same(a, b):
    a, b = leaves(a), leaves(b)
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# --- what a run holds ---


def test_a_run_holds_all_that_the_next_verbs_and_the_reader_need(trained_run):
    fold = trained_run / "fold_0"
    wanted = ["config.json", "log.csv", "learning_curve.png", "checkpoints/last.ckpt", "checkpoints/best.ckpt"]
    wanted += [f"model/{n}" for n in ("model.safetensors", "config.json", "dataset.json", "metrics.json")]
    assert [name for name in [*wanted, "model/MODEL_CARD.md"] if not (fold / name).stat().st_size] == []
    assert (fold / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((fold / "tensorboard").glob("events.*"))
    config = json.loads((fold / "config.json").read_text())
    assert (config["data"]["plane"], config["data"]["modality"]) == ("axial", "other")


def test_the_folds_are_kept_in_nnunets_file_and_validation_is_never_trained_on(trained_run):
    folds = json.loads((trained_run / "splits_final.json").read_text())
    assert len(folds) == 5
    metrics = json.loads((trained_run / "fold_0" / "model" / "metrics.json").read_text())
    assert metrics["train_cases"] == folds[0]["train"]
    assert metrics["validation"]["cases"] == folds[0]["val"]
    assert not set(folds[0]["train"]) & set(folds[0]["val"])


def test_the_scores_of_the_model_folder_are_those_of_the_verbs_segment_and_evaluate(trained_run, dataset_folder):
    import sautomed
    from sautomed.evaluation import dice
    from sautomed.scans import read_labels

    metrics = json.loads((trained_run / "fold_0" / "model" / "metrics.json").read_text())["validation"]
    model = sautomed.load(trained_run, device="cpu")
    scores = {"bright": [], "dark": []}
    for case in metrics["cases"]:
        found = model.segment(dataset_folder / "imagesTr" / f"{case}_0000.nii.gz")
        truth = read_labels(dataset_folder / "labelsTr" / f"{case}.nii.gz", "axial")
        for value, name in model.labels.items():
            scores[name].append(dice(found.array == value, truth.array == value))
    assert metrics["dsc"] == pytest.approx({name: float(np.mean(values)) for name, values in scores.items()})
    assert metrics["mean_dsc"] == pytest.approx(np.mean([np.mean(values) for values in scores.values()]))


def test_the_log_has_a_row_for_each_validation_and_the_losses_before_it(trained_run):
    found = rows(trained_run)
    assert [row["step"] for row in found] == ["2", "2", "4", "4"]
    assert [bool(row["val_dsc"]) for row in found] == [False, True, False, True]
    for row in (found[0], found[2]):
        parts = {name: float(row[name]) for name in ("loss", "ce", "dice", "box", "presence")}
        expected = 0.2 * parts["ce"] + 0.8 * parts["dice"] + 0.1 * parts["box"] + 0.1 * parts["presence"]
        assert parts["loss"] == pytest.approx(expected, rel=1e-4)
    assert float(found[2]["lr"]) == 0  # poly: the schedule ends at zero


def test_the_last_checkpoint_is_the_last_even_when_an_earlier_one_was_better(trained_run):
    validations = [(float(row["val_dsc"]), int(row["step"])) for row in rows(trained_run) if row["val_dsc"]]
    assert checkpoint(trained_run, "last")["global_step"] == 4
    assert checkpoint(trained_run, "best")["global_step"] == max(validations)[1]


def test_the_model_is_the_average_of_the_best_checkpoint(trained_run):
    model = load_file(trained_run / "fold_0" / "model" / "model.safetensors")
    best = checkpoint(trained_run, "best")["state_dict"]
    assert all(torch.equal(tensor, best[f"average.module.{name}"]) for name, tensor in model.items())
    assert not all(torch.equal(tensor, best[f"model.{name}"]) for name, tensor in model.items())


def test_the_model_card_tells_the_scores_and_what_was_seen(trained_run):
    fold = trained_run / "fold_0"
    card = (fold / "model" / "MODEL_CARD.md").read_text()
    mean = json.loads((fold / "model" / "metrics.json").read_text())["validation"]["mean_dsc"]
    for words in ("2 organs in MR volumes", "4 training cases", "fold 0", f"**{mean:.3f}**", "| dark |"):
        assert words in card


def test_a_model_is_not_checked_in_bf16_where_the_machine_does_not_compute_in_it(trained_run):
    model = trained_run / "fold_0" / "model"
    assert json.loads((model / "metrics.json").read_text())["bf16"] is None
    assert load_bundle(model).bf16_check is None
    assert "It was not checked in bf16" in (model / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_a_model_is_checked_in_bf16_where_the_machine_computes_in_it(plan, bf16_processor):
    scored = []
    model = train(plan(), Callbacks(on_scored=lambda *call: scored.append(call)))
    metrics = json.loads((model / "metrics.json").read_text())
    check, exact = metrics["bf16"], metrics["validation"]
    assert check["dsc"].keys() == exact["dsc"].keys()
    assert check["difference"] == pytest.approx(check["mean_dsc"] - exact["mean_dsc"])
    assert check["passed"] == (abs(check["difference"]) <= 0.002)
    assert load_bundle(model).bf16_check.passed == check["passed"]
    assert f"In bf16 the mean DSC is {check['mean_dsc']:.4f}" in (model / "MODEL_CARD.md").read_text()
    cases = exact["cases"] * 2
    assert scored == [(done, len(cases), case) for done, case in enumerate(cases, start=1)]


def test_the_model_keeps_the_intensities_of_its_training_cases_alone(trained_run, dataset_folder):
    model = trained_run / "fold_0" / "model"
    cases = json.loads((model / "metrics.json").read_text())["train_cases"]
    scans = [read_scan(dataset_folder / "imagesTr" / f"{case}_0000.nii.gz", "axial").array for case in cases]
    kept = load_bundle(model).intensities
    assert kept == tuple(percentiles_of(scan, "other") for scan in scans)
    assert f"| Intensities | {describe_range(kept)} in the training scans |" in (model / "MODEL_CARD.md").read_text()


def test_the_model_keeps_the_organ_sizes_of_its_training_cases_alone(trained_run, dataset_folder):
    model = trained_run / "fold_0" / "model"
    cases = json.loads((model / "metrics.json").read_text())["train_cases"]
    kept = load_bundle(model).organ_sizes
    assert len(kept) == len(cases)
    for case, sizes in zip(cases, kept, strict=True):
        stored = nibabel.load(dataset_folder / "labelsTr" / f"{case}.nii.gz")
        labels, voxel_ml = np.asarray(stored.dataobj), np.prod(stored.header.get_zooms()[:3]) / 1000
        for value, organ in ((1, "bright"), (5, "dark")):
            assert sizes[organ].volume_ml == pytest.approx((labels == value).sum() * voxel_ml)
            assert sizes[organ].extent_mm == (labels == value).any((0, 1)).sum() * stored.header.get_zooms()[2]


def test_the_model_predicts_a_dsc_from_its_validation_cases(trained_run):
    """Few cases, so the card says that it is uncalibrated."""
    model = trained_run / "fold_0" / "model"
    validation = json.loads((model / "metrics.json").read_text())["validation"]["cases"]
    predictor = load_bundle(model).predictor
    assert predictor.cases == len(validation) < 10
    assert f"was fitted on {predictor.basis}." in " ".join((model / "MODEL_CARD.md").read_text().split())


def test_the_same_seed_gives_the_same_model(trained_run, plan, tmp_path):
    train(plan())
    for run in (trained_run, tmp_path / "run"):
        assert (run / "fold_0" / "model" / "model.safetensors").is_file()
    assert_same(*(load_file(run / "fold_0/model/model.safetensors") for run in (trained_run, tmp_path / "run")))


# --- going on after a stop ---


def stop_at(step):
    def on_step(now):
        if now.step == step:
            raise KeyboardInterrupt

    return Callbacks(on_step=on_step)


def test_stopped_and_resumed_equals_uninterrupted(trained_run, plan, tmp_path):
    """Stopped a step after the checkpoint of step 2, so that one step is trained again."""
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    run = tmp_path / "run"
    assert checkpoint(run, "last")["global_step"] == 2
    assert not (run / "fold_0" / "model").exists()
    assert signal.getsignal(signal.SIGINT) is handler
    train(plan(resume=True))
    assert_same_run(trained_run, run)


def assert_same_run(one, other):
    """The same weights, optimiser, model and log, but for the time."""
    for name in ("last", "best"):
        a, b = checkpoint(one, name), checkpoint(other, name)
        assert a["global_step"] == b["global_step"]
        for part in ("state_dict", "optimizer_states"):
            assert_same(a[part], b[part])
    assert_same(*(load_file(run / "fold_0/model/model.safetensors") for run in (one, other)))
    numbers = [[{**row, "elapsed_s": ""} for row in rows(run)] for run in (one, other)]
    assert numbers[0] == numbers[1]


def signal_at(step, number):
    """Send this process a signal in the middle of a step; no validation calls again for the same step."""
    sent = []

    def on_step(now):
        if now.step == step and not sent:
            sent.append(now)
            signal.raise_signal(number)

    return Callbacks(on_step=on_step)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, errors.Terminated)]
)
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(trained_run, plan, tmp_path, step, number, raised):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(raised):
        train(plan(), signal_at(step, number))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert checkpoint(tmp_path / "run", "last")["global_step"] == step
    assert not (tmp_path / "run" / "fold_0" / "model").exists()
    train(plan(resume=True))
    assert_same_run(trained_run, tmp_path / "run")


def test_a_signal_while_examples_are_read_loses_no_step(plan, tmp_path, monkeypatch):
    """The next step is then trained, too, as only a step ends with a checkpoint."""
    read = SliceRunDataset.__getitem__

    def signalled(self, number):
        if number == self.settings.batch:  # the first example of the second step
            signal.raise_signal(signal.SIGTERM)
        return read(self, number)

    monkeypatch.setattr(SliceRunDataset, "__getitem__", signalled)
    with pytest.raises(errors.Terminated):
        train(plan())
    assert checkpoint(tmp_path / "run", "last")["global_step"] == 2


def test_a_second_ctrl_c_stops_at_once(plan, tmp_path):
    def on_step(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(plan(), Callbacks(on_step=on_step))
    assert not (tmp_path / "run" / "fold_0" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("length", [0, 50_000, -100])
def test_the_best_checkpoint_replaces_a_damaged_last_one(trained_run, plan, tmp_path, caplog, length):
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    last = tmp_path / "run" / "fold_0" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:length])
    with pytest.raises(errors.TargetExists, match="--resume"):
        train(plan())
    train(plan(resume=True))
    assert "last.ckpt: is empty, cut short or damaged" in caplog.text
    assert "best.ckpt: the training goes on from this checkpoint" in caplog.text
    assert_same_run(trained_run, tmp_path / "run")


def test_a_damaged_best_checkpoint_is_written_anew(plan, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    best = tmp_path / "run" / "fold_0" / "checkpoints" / "best.ckpt"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.write_bytes(content)
    train(plan(resume=True))
    assert "best.ckpt: is empty, cut short or damaged, and is removed" in caplog.text
    assert checkpoint(tmp_path / "run", "best")["global_step"] == 4


@pytest.mark.parametrize("copied", [True, False])
def test_a_run_that_was_moved_or_copied_keeps_its_best_checkpoint(plan, tmp_path, monkeypatch, copied):
    monkeypatch.setattr("sautomed.training.learner.network_dice", lambda *_: torch.full((2,), 0.5))
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    place = tmp_path / "place"
    (shutil.copytree if copied else shutil.move)(tmp_path / "run", place)
    monkeypatch.setattr("sautomed.training.learner.network_dice", lambda *_: torch.full((2,), 0.25))
    train(plan(run=place, resume=True))
    assert [row["val_dsc"] for row in rows(place) if row["val_dsc"]] == ["0.5", "0.25"]
    assert checkpoint(place, "best")["global_step"] == 2


def test_where_every_checkpoint_is_damaged_the_cure_works(plan, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    for name in ("best", "last"):
        (tmp_path / "run" / "fold_0" / "checkpoints" / f"{name}.ckpt").write_bytes(b"")
    with pytest.raises(errors.DamagedWeights, match=r"last\.ckpt.*without --resume") as caught:
        train(plan(resume=True))
    assert caught.value.exit_code == 4
    assert train(plan()).is_dir()


def test_a_full_disk_keeps_the_checkpoint_before_and_the_training_goes_on_from_it(plan, tmp_path, monkeypatch):
    save = torch.save

    def save_once(content, file):
        if content["global_step"] > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", save_once)
        with pytest.raises(errors.UnwritableTarget, match="No space left"):
            train(plan())
    assert checkpoint(tmp_path / "run", "last")["global_step"] == 2
    assert checkpoint(tmp_path / "run", "best")["global_step"] == 2
    train(plan(resume=True))
    assert checkpoint(tmp_path / "run", "last")["global_step"] == 4


def test_time_before_the_stop_counts(plan, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(plan(), stop_at(3))
    kept = checkpoint(tmp_path / "run", "last")
    file = tmp_path / "run" / "fold_0" / "checkpoints" / "last.ckpt"
    torch.save({**kept, "elapsed_s": 3600.0}, file)
    model = train(plan(resume=True))
    assert json.loads((model / "metrics.json").read_text())["minutes"] == pytest.approx(60, abs=1)
    assert float(rows(tmp_path / "run")[-1]["elapsed_s"]) > 3600


def test_resuming_a_finished_training_gives_the_model_again(trained_run, plan, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    before = load_file(run / "fold_0" / "model" / "model.safetensors")
    shutil.rmtree(run / "fold_0" / "model")
    model = train(plan(resume=True))
    assert_same(before, load_file(model / "model.safetensors"))


def test_what_a_killed_training_left_half_written_is_deleted(trained_run, plan, tmp_path, caplog):
    run = shutil.copytree(trained_run, tmp_path / "run")
    (slices,) = (run / "prepared").iterdir()
    names = {
        run: "splits_final.json",
        run / "fold_0": "log.csv",
        run / "fold_0" / "checkpoints": "best.ckpt",
        run / "fold_0" / "model": "model.safetensors",
        slices: "block_0.image.npy",
    }
    (run / ".0000-1-00000000.other.nii.gz").touch()  # perhaps of another command
    for folder, name in names.items():
        (folder / f".0000-1-00000000.{name}").write_bytes(b"half")
    for path in run.rglob(".*"):
        os.utime(path, (0, 0))  # written on another machine, a long time ago
    train(plan(resume=True))
    assert [path.name for path in run.rglob(".*")] == [".0000-1-00000000.other.nii.gz"]
    assert caplog.text == ""


def test_training_again_into_the_same_folder_is_refused(trained_run, plan):
    before = (trained_run / "fold_0" / "log.csv").read_bytes()
    with pytest.raises(errors.TargetExists, match=r"fold_0.*--resume") as caught:
        train(plan(run=trained_run))
    assert caught.value.exit_code == 2
    assert (trained_run / "fold_0" / "log.csv").read_bytes() == before


def test_there_must_be_something_to_resume(plan):
    with pytest.raises(errors.NothingToResume, match=r"last\.ckpt.*without --resume") as caught:
        train(plan(resume=True))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("change", ["name", "shape"])
def test_a_checkpoint_of_an_earlier_network_is_refused_by_name(trained_run, plan, tmp_path, change):
    run = shutil.copytree(trained_run, tmp_path / "run")
    file, kept = run / "fold_0" / "checkpoints" / "last.ckpt", checkpoint(run, "last")
    tokens = kept["state_dict"].pop("model.history.own")
    kept["state_dict"] |= {"model.history.first": tokens} if change == "name" else {"model.history.own": tokens[:1]}
    torch.save(kept, file)
    before = file.read_bytes()
    with pytest.raises(errors.NothingToResume, match=r"last\.ckpt.*another network.*another -o"):
        train(plan(resume=True))
    assert file.read_bytes() == before


def test_resuming_with_another_network_is_refused(trained_run, plan, small_settings):
    other = small_settings.model_copy(
        update={"model": small_settings.model.model_copy(update={"prompt": False}), "preset": "other"}
    )
    before = (trained_run / "fold_0" / "config.json").read_bytes()
    with pytest.raises(errors.NothingToResume, match="other settings, cases, label rules or seed"):
        train(plan(run=trained_run, settings=other, resume=True))
    assert (trained_run / "fold_0" / "config.json").read_bytes() == before


# --- one trainer ---


def test_a_second_trainer_of_one_fold_is_refused_and_the_first_goes_on(plan, tmp_path):
    refused = []

    def train_beside(_):
        if not refused:
            with pytest.raises(errors.TargetInUse, match=r"fold_0.*another process.*-o") as caught:
                train(plan())
            refused.append(caught.value)

    model = train(plan(), Callbacks(on_step=train_beside))
    assert (refused[0].id, refused[0].exit_code) == ("SAM-E0208", 2)
    assert json.loads((model / "metrics.json").read_text())["steps"] == 4
    assert not (tmp_path / "run" / "fold_0" / "train.lock").exists()


def test_the_lock_of_a_dead_process_is_not_in_the_way(plan, tmp_path):
    (tmp_path / "run" / "fold_0").mkdir(parents=True)
    (tmp_path / "run" / "fold_0" / "train.lock").write_text("")
    assert train(plan()).is_dir()


def test_a_training_that_is_refused_leaves_no_folder(plan, tmp_path):
    with pytest.raises(errors.DataError):
        train(plan(dataset=tmp_path / "nowhere"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_to_is_named(plan, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(errors.UnwritableTarget, match=r"run.*-o"):
        train(plan())


# --- folds and time ---


@pytest.mark.slow
def test_fold_all_trains_on_every_case_and_validates_on_none(plan, small_settings):
    model = train(plan(fold="all"))
    assert model.parent.name == "fold_all"
    metrics = json.loads((model / "metrics.json").read_text())
    assert len(metrics["train_cases"]) == 6
    assert metrics["validation"] == {"cases": [], "dsc": {"bright": None, "dark": None}, "mean_dsc": None}
    assert "every case was trained on" in (model / "MODEL_CARD.md").read_text()
    last = torch.load(model.parent / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    state = load_file(model / "model.safetensors")
    assert all(torch.equal(tensor, last["state_dict"][f"average.module.{n}"]) for n, tensor in state.items())


@pytest.mark.slow
def test_gradients_are_clipped_under_autocast_too(plan, small_settings):
    assert small_settings.train.clip_norm is not None
    train(plan(settings=changed(small_settings, precision="bf16-mixed", steps=2)))


@pytest.mark.slow
def test_a_time_limit_is_kept_and_gives_a_model(plan, small_settings, monkeypatch):
    """The clock rules, not the steps; and no validation is due before its end. Here a step takes a second."""
    seen = []
    clock = SimpleNamespace(monotonic=lambda: float(len(seen)))
    monkeypatch.setattr("sautomed.training.budget.time", clock)
    endless = changed(small_settings, steps=1, validate_every=100_000)
    model = train(plan(settings=endless, max_minutes=0.1), Callbacks(on_step=seen.append))
    assert json.loads((model / "metrics.json").read_text())["steps"] == 5  # and a second for the end
    assert seen[-1].progress == 1
    rates = [float(row["lr"]) for row in rows(model.parents[1]) if row["lr"]]
    assert rates[-1] < 0.3 * small_settings.train.learning_rate  # the schedule was fitted to the time
    assert load_bundle(model).labels == {1: "bright", 5: "dark"}


def test_a_validation_without_any_organ_does_not_end_the_training(plan, tmp_path, monkeypatch):
    """Nothing to score is not a score of zero, nor a reason to stop."""
    monkeypatch.setattr("sautomed.training.learner.network_dice", lambda *_: torch.tensor([torch.nan, torch.nan]))
    model = train(plan())
    assert json.loads((model / "metrics.json").read_text())["steps"] == 4
    assert not any(row["val_dsc"] for row in rows(tmp_path / "run"))


# --- what is refused, with the case or file in the message ---


@pytest.mark.parametrize("fold", [5, -1])
def test_a_fold_out_of_range_is_refused(plan, fold):
    with pytest.raises(errors.FoldOutOfRange, match="0 to 4"):
        train(plan(fold=fold))


def test_a_data_set_without_cases_is_refused(own_dataset, plan):
    for path in (own_dataset / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(errors.NoCases, match="Dataset042_Blocks"):
        train(plan(dataset=own_dataset))


def test_image_and_label_on_different_grids_are_refused(own_dataset, plan):
    path = own_dataset / "labelsTr" / "block_3.nii.gz"
    labels = nibabel.load(path)
    moved = labels.affine.copy()
    moved[0, 3] += 1
    nibabel.save(nibabel.Nifti1Image(np.asarray(labels.dataobj), moved), path)
    with pytest.raises(errors.GridMismatch, match=r"block_3.*image and label map"):
        train(plan(dataset=own_dataset))


def spoil(dataset, number, change):
    """Change the voxels of a label map in place."""
    path = dataset / "labelsTr" / f"block_{number}.nii.gz"
    labels = nibabel.load(path)
    array = np.asarray(labels.dataobj).copy()
    change(array)
    nibabel.save(nibabel.Nifti1Image(array, labels.affine), path)


def without_dark(array):
    array[array == 5] = 0


def test_a_fold_whose_training_cases_lack_a_class_is_refused(own_dataset, plan, trained_run):
    val = json.loads((trained_run / "fold_0" / "splits.json").read_text())["val"]
    for number in range(6):
        if f"block_{number}" not in val:
            spoil(own_dataset, number, without_dark)
    with pytest.raises(errors.ClassMissing, match=r"fold 0.*5 dark has no voxel in its 4 training cases.*--seed"):
        train(plan(dataset=own_dataset))


@pytest.mark.slow
def test_a_class_that_validation_lacks_is_warned_of(own_dataset, plan, trained_run, caplog):
    val = json.loads((trained_run / "fold_0" / "splits.json").read_text())["val"]
    for case in val:
        spoil(own_dataset, int(case[-1]), without_dark)
    train(plan(dataset=own_dataset))
    assert "no validation case shows 5 dark" in caplog.text


@pytest.mark.slow
def test_strange_values_are_trained_as_the_rules_say(own_dataset, plan, trained_run, tmp_path):
    """Under rules that undo the change, the very same model comes out; and it is resumed under these rules only."""

    def strange(array):
        array[array == 5] = 9

    for number in range(6):
        spoil(own_dataset, number, strange)
    rules = LabelRules(map={9: 5})
    with pytest.raises(errors.UnknownLabels, match=r"9 \(\d+ voxels in 6 cases: block_0.*--map 9=.*--ignore 9"):
        train(plan(dataset=own_dataset, run=tmp_path / "other"))
    model = train(plan(dataset=own_dataset, rules=rules))
    assert_same(load_file(model / "model.safetensors"), load_file(trained_run / "fold_0/model/model.safetensors"))
    with pytest.raises(errors.NothingToResume, match="label rules"):
        train(plan(dataset=own_dataset, rules=LabelRules(map={9: 1}), resume=True))


@pytest.mark.slow
def test_an_ignored_label_is_not_trained(own_dataset, plan):
    model = train(plan(dataset=own_dataset, rules=LabelRules(ignore=frozenset({5}))))
    assert load_bundle(model).labels == {1: "bright"}


def test_the_data_sets_own_folds_are_used_and_checked(own_dataset, plan, tmp_path):
    splits = own_dataset / "splits_final.json"
    folds = [{"train": ["block_5", "block_4", "block_0"], "val": ["block_2"]}]
    splits.write_text(json.dumps(folds))
    prepared = prepare_fold(plan(dataset=own_dataset), NO_CALLBACKS)
    assert (prepared.fold.train, prepared.fold.val) == (("block_5", "block_4", "block_0"), ("block_2",))
    assert json.loads((tmp_path / "run" / "splits_final.json").read_text()) == folds
    splits.write_text(json.dumps([{"train": ["block_0"], "val": ["lost"]}]))
    with pytest.raises(errors.BadSplits, match="lost"):
        prepare_fold(plan(dataset=own_dataset, run=tmp_path / "other"), NO_CALLBACKS)


def test_an_unknown_layout_is_refused(plan):
    with pytest.raises(errors.UnknownSetting, match="nnunet-raw"):
        train(plan(layout="nnunet"))


def test_label_values_without_a_name_are_refused(own_dataset, plan):
    path = own_dataset / "labelsTr" / "block_2.nii.gz"
    labels = nibabel.load(path)
    array = np.asarray(labels.dataobj).copy()
    array[0, 0, 0] = 3
    nibabel.save(nibabel.Nifti1Image(array, labels.affine), path)
    with pytest.raises(errors.UnknownLabels, match=r"block_2.*\b3\b.*dataset\.json"):
        train(plan(dataset=own_dataset))
