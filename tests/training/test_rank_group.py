"""Two processes train together what one trains with the double batch, stop together, and one can go on for both."""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sautomed.config import Settings
from sautomed.errors import RanksLost, Terminated
from sautomed.training.checkpoints import AtomicCheckpointIO
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.rank_group import RankGroup, joined
from sautomed.training.ranks import Ranks
from sautomed.training.train import train

from .test_train import checkpoint, rows

STEPS, STOP = 22, 20


def settings_of(small_settings, batch):
    """Settings of steps with single slices, prompted rows and noise; by SGD, as Adam enlarges what rounding changed."""
    values = small_settings.model_dump(mode="json")
    values["model"]["prompt_head"] = True
    values["model"]["trunk"] |= {"widths": [16, 16], "depths": [1, 1]}
    values["train"] |= {"batch": batch, "steps": STEPS, "validate_every": STEPS // 2, "optimizer": "sgd"}
    values["train"] |= {
        "learning_rate": 0.005,
        "prompt_rows": 1.0,
        "singles": 0.1,
        "box_jitter": 0.05,
        "max_history": 1,
    }
    return Settings.model_validate(values)


def once_at(step, act):
    """Call a function in the middle of this step or, where that was not seen, of the next one."""
    done = []

    def on_step(now):
        if now.step >= step and not done:
            done.append(now.step)
            act()

    return Callbacks(on_step=on_step)


@pytest.fixture(scope="module")
def runs(dataset_folder, small_settings, tmp_path_factory):
    """A training of two processes, of which the second gets SIGTERM, and that of one process with the double batch.

    Both stop, and go on in one process.
    """
    folder, saved, written = tmp_path_factory.mktemp("ranks"), [], AtomicCheckpointIO.save_checkpoint
    threads = torch.get_num_threads()

    def plan_of(name, batch, **more):
        settings = settings_of(small_settings, batch)
        places = {"run": folder / name, "prepared": folder / "prepared"}
        return TrainingPlan(dataset_folder, settings=settings, device="cpu", score=False, **places, **more)

    def save(self, content, path, storage_options=None):
        saved.append(content["global_step"])
        written(self, content, path, storage_options)

    def stop_second():
        [second] = multiprocessing.active_children()
        os.kill(second.pid, signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
        with pytest.raises(Terminated):
            train(plan_of("two", 1, ranks=Ranks(devices=2)), once_at(STOP, stop_second))
    stopped = saved[-1]
    with pytest.raises(Terminated):
        train(plan_of("one", 2), once_at(stopped, lambda: signal.raise_signal(signal.SIGTERM)))
    torch.set_num_threads(threads)
    left = multiprocessing.active_children()
    found = SimpleNamespace(one=folder / "one", two=folder / "two", saved=saved, left=left, plan_of=plan_of)
    found.at_stop = [checkpoint(run, "last") for run in (found.one, found.two)]
    for name, batch in (("one", 2), ("two", 1)):
        train(plan_of(name, batch, resume=True))
    return found


def assert_close(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_weights_averages_and_batch_norms_are_those_of_one_process_with_the_double_batch(runs):
    one, two = runs.at_stop
    assert one["global_step"] == two["global_step"] >= STOP
    assert_close(one["state_dict"], two["state_dict"])


def test_so_are_the_losses_and_the_scores_of_validation(runs):
    one, two = rows(runs.one), rows(runs.two)
    assert [row["step"] for row in one] == [row["step"] for row in two] != []
    for name in ("loss", "ce", "dice", "box", "presence", "val_dsc", "lr"):
        values = [[float(row[name] or "nan") for row in table] for table in (one, two)]
        rel = 1e-3 if name == "val_dsc" else 1e-4  # a pixel may lie between two classes
        assert values[1] == pytest.approx(values[0], rel=rel, nan_ok=True), name


def test_a_signal_to_one_of_them_stops_both_with_one_checkpoint(runs):
    assert runs.saved.count(runs.saved[-1]) == 1
    assert runs.saved[-1] in (STOP, STOP + 1)  # where the other had ended the step already, it is the next
    assert runs.left == []


def test_only_the_first_writes(runs):
    assert len(list((runs.two / "fold_0" / "tensorboard").iterdir())) == len(
        list((runs.one / "fold_0" / "tensorboard").iterdir())
    )
    assert not list(runs.two.rglob("train.lock"))


def test_one_process_goes_on_with_the_work_of_two(runs):
    models = [load_file(run / "fold_0" / "model" / "model.safetensors") for run in (runs.one, runs.two)]
    assert_close(*models)


@pytest.fixture(scope="module")
def other():
    """The other one of two ranks, in a process of its own, and what it says: it joins, waits, and begins anew."""
    program = [sys.executable, Path(__file__).with_name("other_rank.py")]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    words: queue.Queue[str] = queue.Queue()
    Thread(target=lambda: [words.put(line.strip()) for line in process.stdout], daemon=True).start()

    def says_nothing():
        try:
            return words.get(timeout=0.5) is None
        except queue.Empty:
            return True

    def meet(port):
        process.stdin.write(f"{port}\n")
        process.stdin.flush()

    def hear():
        return words.get(timeout=120)

    assert hear() == "ready"
    yield SimpleNamespace(pid=process.pid, hear=hear, says_nothing=says_nothing, meet=meet)
    process.stdin.close()
    assert process.wait(20) == 0


def stop(*_):
    raise Terminated


@contextmanager
def first_of_two(other):
    """Be the first rank, when the other one waits."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    other.meet(store.port)
    with joined(Ranks(devices=2, meeting=("127.0.0.1", store.port)), torch.device("cpu")) as group:
        assert other.hear() == "waiting"
        yield group


def test_the_others_wait_for_the_first(other):
    found = []
    with first_of_two(other) as group:
        group.first_alone(lambda: found.append(other.says_nothing()))
        assert other.hear() == "done"
    assert found == [True]


def test_they_do_not_wait_for_a_first_that_fails_or_is_stopped(other):
    with first_of_two(other) as group:
        with pytest.raises(Terminated):
            group.first_alone(stop)
        assert other.hear() == "lost"


def test_nor_for_one_that_is_gone(other):
    with pytest.raises(Terminated), first_of_two(other):
        stop()
    assert other.hear() == "lost"


def test_a_signal_ends_their_waiting_and_the_first_goes_on_without_them(other):
    found = []
    with first_of_two(other) as group:
        group.first_alone(lambda: os.kill(other.pid, signal.SIGTERM) or found.append(other.hear()))
    assert found == ["stopped"]


@pytest.mark.parametrize("rank", [0, 1])
def test_whoever_trained_waits_until_the_model_is_written(rank, dataset_folder, small_settings, tmp_path, monkeypatch):
    class Recording(RankGroup):
        def first_in_turn(self, work):
            return work()

        def first_alone(self, work):
            if self.is_first:
                work()
            done.append("met")

    done, ranks = [], Ranks(devices=2, rank=rank)
    monkeypatch.setattr("sautomed.training.train.other_ranks", lambda *_: nullcontext((ranks, ())))
    monkeypatch.setattr("sautomed.training.train.joined", lambda *_: nullcontext(Recording(ranks)))
    monkeypatch.setattr("sautomed.training.train.fit", lambda *_: done.append("trained"))
    monkeypatch.setattr("sautomed.training.train.write_model", lambda *_: done.append("written"))
    train(TrainingPlan(dataset_folder, tmp_path, settings_of(small_settings, 1), device="cpu", ranks=ranks))
    assert done == ["trained", *(["written"] if rank == 0 else []), "met"]


def test_who_is_lost_while_all_prepare_is_named():
    class OtherFails(RankGroup):
        def gather(self, value):
            return [value, False]

    with pytest.raises(RanksLost, match=r"process 1 of the training failed.*--resume"):
        OtherFails(Ranks(devices=2)).first_in_turn(lambda: None)


def test_a_lost_connection_is_a_fault_with_a_cure_and_other_faults_stay(monkeypatch):
    monkeypatch.setattr("sautomed.training.rank_group.meet", lambda *_: None)
    there = Ranks(devices=2, meeting=("127.0.0.1", 1))
    for text, kind in (("[pair.cc:534] Connection closed by peer", RanksLost), ("shapes differ", RuntimeError)):

        def fail(*_, text=text, **__):
            raise RuntimeError(text)

        monkeypatch.setattr("torch.distributed.init_process_group", fail)
        with pytest.raises(kind) as caught, joined(there, torch.device("cpu")):
            pass
        assert type(caught.value) is kind
