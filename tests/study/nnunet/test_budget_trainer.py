"""nnU-Net's trainer with a limit of time; skipped if nnU-Net is not installed."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("nnunetv2")

from sautomed.datasets import read_dataset
from sautomed.datasets.folds import Fold
from sautomed.evaluation.evaluate import evaluate
from sautomed.study import nnunet
from sautomed.study.nnunet import budget_trainer, train_and_predict
from sautomed.study.nnunet.budget_trainer import EPOCHS, BudgetTrainer, ClockSchedule


class Clock:
    """Time that passes only with the iterations."""

    now = 100.0


class Counting(BudgetTrainer):
    """The trainer without network and data: each iteration takes a second."""

    def __init__(self, clock, budget_s, initial_lr=0.01):
        self.clock, self.budget_s, self.num_iterations_per_epoch = clock, budget_s, 250
        self.optimizer = SimpleNamespace(param_groups=[{"lr": None}])
        self.lr_scheduler = ClockSchedule(self.optimizer, initial_lr, self)
        self.dataloader_train = self.dataloader_val = iter(lambda: None, "never")
        self.rates, self.epochs, self.checks, self.ended = [], [], 0, False

    def train_step(self, batch):
        self.lr_scheduler.step()
        self.iterations += 1
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.clock.now += 1
        return {}

    def validation_step(self, batch):
        self.checks += 1

    def on_train_start(self):
        self.clock.now += 2  # data loaders

    def on_train_epoch_end(self, losses):
        self.epochs.append(len(losses))

    def on_train_end(self):
        self.ended = True

    def _nothing(self, *_):
        pass

    on_epoch_start = on_train_epoch_start = on_validation_epoch_start = on_validation_epoch_end = _nothing
    on_epoch_end = _nothing


@pytest.fixture
def count(monkeypatch):
    def run(budget_s):
        clock = Clock()
        monkeypatch.setattr(budget_trainer, "now_s", lambda clock: clock.now)
        counting = Counting(clock, budget_s)
        counting.run_training()
        return counting

    return run


def test_training_ends_with_the_budget_and_its_rate_falls_to_nothing(count):
    run = count(202.0)
    assert run.iterations == 200
    assert run.ended
    assert len(run.epochs) == pytest.approx(EPOCHS, abs=2)
    assert all(later < earlier for earlier, later in zip(run.rates, run.rates[1:], strict=False))
    assert run.rates[0] == pytest.approx(0.01)
    assert run.rates[-1] < 1e-4


def test_a_long_budget_has_epochs_of_the_stock_length(count):
    run = count(10_000.0)
    assert max(run.epochs) == 250
    assert run.checks > 50 * (len(run.epochs) - 2)


def test_few_iterations_are_not_checked_one_by_one(count):
    run = count(32.0)
    assert run.iterations == 30
    assert set(run.epochs) == {5}
    assert run.checks == len(run.epochs)


def test_a_budget_that_the_start_uses_up_still_trains_once(count):
    assert count(1.0).iterations == 1


def test_the_model_names_the_stock_trainer_so_that_nnunet_finds_its_network():
    assert BudgetTrainer.__name__ == "nnUNetTrainer"


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_a_short_training_gives_label_maps_that_we_can_score(dataset_folder, tmp_path, monkeypatch, configuration):
    left = {"seconds": 20, "clock": "processor", "sent": 0}  # whatever the preparation took
    monkeypatch.setattr(train_and_predict, "_budget", lambda *_: left)
    dataset = read_dataset(dataset_folder)
    fold = Fold(tuple(f"block_{n}" for n in range(4)), ("block_4", "block_5"))
    settings = nnunet.NnUNetSettings(configuration=configuration)
    training = nnunet.train(dataset, fold, tmp_path / "run", minutes=1, device="cpu", settings=settings)
    predicted = nnunet.predict(training, dataset, fold.val, tmp_path / "out", device="cpu")
    summary = evaluate(tmp_path / "out", dataset_folder, tmp_path / "scores")
    assert training.steps > 0
    assert training.parameters > 1_000_000
    assert predicted.seconds.keys() == set(fold.val)
    assert not summary.failed
    plans = json.loads((training.model / "plans.json").read_text())
    assert plans["configurations"][configuration]["batch_size"] >= 2
    log = next((training.model / "fold_0").glob("training_log_*.txt")).read_text()
    assert "This split has 4 training and 2 validation cases" in log
