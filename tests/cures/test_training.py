"""Refusals of `train` and of its runs, followed to the letter."""

import json
import shutil
import socket
from contextlib import closing, nullcontext, suppress

import numpy as np
import pytest
import torch
from filelock import FileLock

from sautomed.datasets.folds import make_folds
from sautomed.training.rank_group import RankGroup

from ..datasets.block_dataset import BlockDataset, organs

SMALL = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128")


@pytest.fixture
def train_order(blocks, tmp_path, stop_before_steps):
    """The command that trains on the blocks, up to the first step."""
    return "train", "-d", blocks.folder, "-o", tmp_path / "run", *SMALL


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a run that was trained for a few steps."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture
def resume_order(run, dataset_folder, stop_before_steps):
    return "train", "-d", dataset_folder, "-o", run, "--device", "cpu", "--resume"


@pytest.mark.parametrize("cure", ["ignore", "correct"])
def test_classes_that_no_case_shows(refuse, blocks, train_order, cure):
    for number in range(blocks.count):
        labels = organs(number)
        labels[labels > 2] = 0
        blocks.write_label(number, labels)
    refusal = refuse("training/classes.py require_classes ClassMissing", *train_order)
    if cure == "ignore":
        refusal.works(*refusal.take(r"with ((?:--ignore \d+ ?)+),").split())
    else:
        refusal.asks("correct the label maps")
        for number in range(blocks.count):
            blocks.write_label(number, organs(number))
        refusal.works()


def test_a_class_of_a_few_pixels_needs_larger_images(refuse, tmp_path, stop_before_steps):
    blocks = BlockDataset(tmp_path / "data", labels={"dot": 1})
    for number in range(blocks.count):
        labels = np.zeros((400, 320, 3), np.uint8)
        labels[200, 100, 1] = 1
        blocks.write_label(number, labels, np.diag([1, 1, 10, 1]))
        noise = np.random.default_rng(number).normal(100, 20, labels.shape).astype(np.int16)
        blocks.write_image(number, noise, np.diag([1, 1, 10, 1]))
    order = ("train", "-d", blocks.folder, "-o", tmp_path / "run", *SMALL)
    refusal = refuse("training/classes.py require_classes ClassMissing", *order)
    setting = refusal.take(r"raise (data.image_size)")
    refusal.works("--set", f"{setting}=400")


@pytest.mark.parametrize("cure", ["fold", "all", "seed", "splits"])
def test_a_class_that_only_validation_shows(refuse, blocks, train_order, tmp_path, cure):
    fold = make_folds([f"case_{number}" for number in range(blocks.count)])[0]
    for case in fold.train:
        labels = organs(int(case[-1]))
        labels[labels == 4] = 0
        blocks.write_label(int(case[-1]), labels)
    refusal = refuse("training/classes.py require_classes ClassMissing", *train_order)
    refusal.asks("use another fold, -f all, or another -o with other folds, by --seed or by a splits_final.json in it")
    other = tmp_path / "other"
    if cure == "splits":
        other.mkdir()
        splits = [{"train": list(fold.val), "val": list(fold.train)}]
        (other / refusal.take(r"\w+\.json")).write_text(json.dumps(splits))
    options = {
        "fold": ("-f", 1),
        "all": refusal.take("-f all").split(),
        "seed": ("-o", other, refusal.take("--seed"), 1),
        "splits": ("-o", other),
    }
    refusal.works(*options[cure])


# --- resuming ---


@pytest.mark.parametrize("cure", ["resume", "another"])
def test_a_fold_that_was_trained_already(
    refuse, trained_run, run, dataset_folder, small_settings, tmp_path, stop_before_steps, cure
):
    settings = tmp_path / "small.json"
    settings.write_text(json.dumps(small_settings.model_dump(mode="json")))
    order = ("train", "-d", dataset_folder, "-o", run, "--device", "cpu", "-c", settings)
    refusal = refuse("training/train.py _find_start TargetExists", *order)
    if cure == "resume":
        refusal.works(refusal.take("Use (--resume)"))
    else:
        refusal.works(refusal.take("another (-o) to start anew"), tmp_path / "new")


def test_nothing_to_resume(refuse, command, blocks, tmp_path, train_order):
    key = "training/train.py _find_start NothingToResume"
    refuse(key, *train_order, "--resume").asks("Train without --resume")
    assert command(*train_order)[0] == 0


def test_no_settings_to_resume_with(refuse, command, blocks, tmp_path, train_order):
    plain = ("train", "-d", blocks.folder, "-o", tmp_path / "run", "--device", "cpu", "--resume")
    refuse("training/prepared_fold.py run_settings NothingToResume", *plain).asks("Train without --resume")
    assert command(*train_order)[0] == 0


def test_a_run_with_nothing_but_damaged_checkpoints(refuse, command, run, resume_order, dataset_folder):
    for path in (run / "fold_0" / "checkpoints").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:1000])
    refusal = refuse("training/train.py _find_start DamagedWeights", *resume_order)
    refusal.asks("Train without --resume, which begins anew")
    assert command(*resume_order[:-1], *SMALL)[0] == 0


@pytest.mark.parametrize("left", [True, False])
def test_a_checkpoint_that_cannot_be_read(refuse, command, run, dataset_folder, request, left):
    checkpoints = run / "fold_0" / "checkpoints"
    with_objects = checkpoints / "last.ckpt"
    torch.save({"x": BlockDataset}, with_objects)  # whole, but no checkpoint
    if not left:
        (checkpoints / "best.ckpt").unlink()
    order = ("train", "-d", dataset_folder, "-o", run, "--device", "cpu")
    refusal = refuse("training/checkpoints.py load_checkpoint DamagedWeights", *order, "--resume")
    refusal.asks("Delete it and resume again")
    assert refusal.error.where == str(with_objects)
    with_objects.unlink()
    request.getfixturevalue("stop_before_steps")
    if left:
        refusal.works()
    else:
        refusal.asks("if no other checkpoint is left, train without --resume")
        assert command(*order, *SMALL)[0] == 0


def test_a_checkpoint_of_another_network(refuse, command, run, dataset_folder, tmp_path, request):
    """As an earlier version builds from the same settings."""
    last = run / "fold_0" / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    name = next(iter(content["state_dict"]))
    content["state_dict"][name + "_of_before"] = content["state_dict"].pop(name)
    torch.save(content, last)
    order = ("train", "-d", dataset_folder, "--device", "cpu", "-o")
    refusal = refuse("training/learner.py on_load_checkpoint NothingToResume", *order, run, "--resume")
    assert refusal.error.where == str(last)
    refusal.asks("Train anew with another -o")
    request.getfixturevalue("stop_before_steps")
    assert command(*order, tmp_path / "new", *SMALL)[0] == 0


@pytest.mark.parametrize("cure", ["same", "another"])
def test_other_settings_than_those_of_the_run(refuse, command, resume_order, tmp_path, cure):
    key = "training/prepared_fold.py _write_or_check NothingToResume"
    changed = ("--seed", 3, "--ignore", 5)
    refusal = refuse(key, *resume_order, *changed)
    refusal.asks("Resume with the same -d, --seed, --map, --ignore and --regrid-labels, no -c or --set")
    if cure == "same":
        assert command(*resume_order)[0] == 0
    else:
        option = refusal.take(r"train anew with another (-o)")
        assert command(*resume_order[:-1], *changed, *SMALL, option, tmp_path / "new")[0] == 0


@pytest.mark.parametrize("cure", ["wait", "another"])
def test_a_fold_that_another_process_trains(refuse, train_order, tmp_path, cure):
    folder = tmp_path / "run" / "fold_0"
    folder.mkdir(parents=True)
    with FileLock(folder / "train.lock"):
        refusal = refuse("training/train.py _only_trainer TargetInUse", *train_order).asks("Wait until it ends")
        if cure == "another":
            refusal.works(refusal.take("another (-o)"), tmp_path / "new")
    refusal.works()


def test_a_training_that_diverges(refuse, dataset_folder, small_settings, tmp_path):
    settings = tmp_path / "small.json"
    settings.write_text(json.dumps(small_settings.model_dump(mode="json")))
    order = ("train", "-d", dataset_folder, "-o", tmp_path / "run", "--device", "cpu", "-c", settings)
    large = ("--set", "train.warmup_steps=0", "--set", "train.learning_rate=1e30")
    refusal = refuse("training/learner.py training_step TrainingDiverged", *order, *large)
    option, setting = refusal.take(r"another (-o) and a smaller (train\.\w+)")
    assert "32-true" not in refusal.error.cure  # it is so already
    refusal.works(option, tmp_path / "new", "--set", f"{setting}=1e-4")


# --- several processes ---


@pytest.fixture
def without_others(monkeypatch):
    """Let a process that should train with others go on by itself."""
    monkeypatch.setattr("sautomed.training.train.other_ranks", lambda ranks, work: nullcontext((ranks, ())))
    monkeypatch.setattr("sautomed.training.train.joined", lambda ranks, device, others: nullcontext(RankGroup()))


def free_port(first, last):
    for port in range(first, last + 1):
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            return port
    raise AssertionError("every port is taken")


@pytest.fixture
def start_by_slurm(monkeypatch):
    """Set the variables of a job of so many tasks, or of the first task that `srun` starts in it."""

    def start(tasks, nodes=1, in_step=True):
        numbers = {"SLURM_NTASKS": tasks, "SLURM_NNODES": nodes}
        if in_step:
            numbers |= {"SLURM_STEP_NUM_TASKS": tasks, "SLURM_STEP_NUM_NODES": nodes}
            numbers |= {"SLURM_PROCID": 0, "SLURM_LOCALID": 0}
        for name, number in numbers.items():
            monkeypatch.setenv(name, str(number))

    return start


@pytest.mark.parametrize("cure", ["options", "srun"])
def test_tasks_of_slurm_that_do_not_fit_the_devices(refuse, train_order, without_others, start_by_slurm, cure):
    start_by_slurm(2)
    refusal = refuse("training/ranks.py choose_ranks TaskMismatch 2", *train_order)
    if cure == "options":
        refusal.works(*refusal.take(r"Use (--devices \d --nodes \d),").split())
    else:
        nodes, each = map(int, refusal.take(r"srun --nodes=(\d) --ntasks-per-node=(\d)"))
        start_by_slurm(nodes * each, nodes)
        refusal.works()


@pytest.mark.parametrize("cure", ["srun", "one task"])
def test_a_job_of_several_tasks_without_srun(refuse, train_order, without_others, start_by_slurm, cure):
    start_by_slurm(2, in_step=False)
    refusal = refuse("training/ranks.py _by_slurm TaskMismatch", *train_order)
    if cure == "srun":
        start_by_slurm(2)
        refusal.works(*refusal.take(r"Put srun in front of the command, with (--devices \d --nodes \d)").split())
    else:
        start_by_slurm(int(refusal.take(r"--ntasks=(\d)")), in_step=False)
        refusal.works()


def test_unequal_numbers_of_tasks(refuse, train_order, without_others, start_by_slurm):
    start_by_slurm(3, nodes=2)
    refusal = refuse("training/ranks.py _by_slurm TaskMismatch 2", *train_order, "--devices", 2, "--nodes", 2)
    refusal.asks("srun --ntasks-per-node")
    start_by_slurm(4, nodes=2)
    refusal.works()


@pytest.mark.parametrize("cure", ["srun", "fewer"])
def test_nodes_that_nothing_starts(refuse, command, train_order, without_others, start_by_slurm, cure):
    refusal = refuse("training/ranks.py choose_ranks TaskMismatch", *train_order, "--nodes", 2)
    if cure == "srun":
        refusal.asks("Put srun or torchrun in front of the command")
        start_by_slurm(2, nodes=2)
        refusal.works()
    else:
        refusal.asks("leave out --nodes")
        assert command(*train_order)[0] == 0


def test_more_devices_than_there_are(refuse, train_order, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    refusal = refuse("training/ranks.py _require_gpus UsageError", *train_order, "--device", "cuda", "--devices", 2)
    refusal.works(*refusal.take(r"Use (--devices \d);").split())


@pytest.mark.parametrize("processes", [None, 2])
def test_processes_that_cannot_share_the_runs_of_a_step(refuse, resume_order, without_others, processes):
    key = "training/prepared_fold.py _write_or_check NothingToResume 2"
    refusal = refuse(key, *resume_order, "--devices", 3)
    assert refusal.take(r"has (\d) runs") == "2"
    refusal.asks("or another number that divides the runs")
    refusal.works("--devices", processes or refusal.take(r"Resume with (\d)"))


def test_a_process_that_is_lost(refuse, train_order, monkeypatch):
    with monkeypatch.context() as lost:
        lost.setattr(RankGroup, "gather", lambda _, value: [value, False])
        refusal = refuse("training/meeting.py lost RanksLost", *train_order)
    refusal.asks("give the command again, with --resume once there is a checkpoint")
    refusal.works()


def test_a_port_that_another_job_holds(refuse, train_order, start_by_slurm, monkeypatch):
    start_by_slurm(2)
    monkeypatch.setattr("torch.distributed.PrefixStore.check", lambda *_: True)  # the other process has come
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *_, **__: None)
    monkeypatch.setattr("torch.distributed.new_group", lambda **_: None)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        monkeypatch.setenv("MASTER_PORT", str(server.getsockname()[1]))
        refusal = refuse("training/meeting.py _port_taken RanksLost", *train_order, "--devices", 2)
        variable = refusal.take(r"Put `export (\w+)=N` before srun")
        first, last = map(int, refusal.take(r"from (\d+) to (\d+)"))
        monkeypatch.setenv(variable, str(free_port(first, last)))
        refusal.works()
