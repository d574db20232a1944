"""log.csv: a column for each loss, whatever a system calls it."""

import csv
from types import SimpleNamespace

import pytest
import torch

from sautomed.training.budget import Budget
from sautomed.training.log import CurveLog, LogTable


@pytest.fixture
def table(tmp_path):
    return LogTable(tmp_path / "log.csv")


def rows_of(table):
    with table.path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames), list(reader)


def test_losses_that_nobody_knew_become_columns_before_the_dsc(table):
    table.begin(0)
    table.append({"step": 10, "elapsed_s": 1.5, "lr": 0.1, "loss": 0.9, "focal": 0.25, "odd one": 2.0})
    table.append({"step": 10, "elapsed_s": 2.0, "val_dsc": 0.5})
    columns, rows = rows_of(table)
    assert columns == ["step", "elapsed_s", "lr", "loss", "focal", "odd one", "val_dsc"]
    assert [row["odd one"] for row in rows] == ["2", ""]
    assert [row["val_dsc"] for row in rows] == ["", "0.5"]


def test_rows_that_came_before_a_new_column_keep_their_values(table):
    table.begin(0)
    table.append({"step": 10, "elapsed_s": 1.0, "val_dsc": 0.25})
    table.append({"step": 20, "elapsed_s": 2.0, "loss": 0.5, "iou": 0.75})
    assert [(row["step"], row["val_dsc"], row["iou"]) for row in rows_of(table)[1]] == [
        ("10", "0.25", ""),
        ("20", "", "0.75"),
    ]


def test_a_resumed_training_keeps_the_rows_up_to_its_checkpoint(table):
    table.begin(0)
    for step in (10, 20, 30):
        table.append({"step": step, "elapsed_s": float(step), "loss": 1.0, "ce": 0.5})
    again = LogTable(table.path)
    again.begin(20)
    again.append({"step": 30, "elapsed_s": 31.0, "loss": 2.0, "ce": 0.25})
    assert [(row["step"], row["loss"], row["ce"]) for row in rows_of(again)[1]] == [
        ("10", "1", "0.5"),
        ("20", "1", "0.5"),
        ("30", "2", "0.25"),
    ]
    again.begin(0)
    assert rows_of(again)[1] == []


def test_a_row_that_a_full_disk_cut_is_dropped(table):
    table.begin(0)
    table.append({"step": 10, "elapsed_s": 1.0, "loss": 0.5})
    with table.path.open("a") as file:
        file.write("1")  # of "120,"
    again = LogTable(table.path)
    again.begin(10)
    assert [row["step"] for row in rows_of(again)[1]] == ["10"]


def test_rows_are_means_since_the_row_before_and_steps_are_reported(tmp_path):
    """23 steps whose loss is the step, a validation after step 20."""
    steps = []
    log = CurveLog(tmp_path, steps.append)
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}])
    trainer = SimpleNamespace(global_step=0, optimizers=[optimizer], callback_metrics={}, sanity_checking=False)
    module = SimpleNamespace(budget=Budget(steps=23), last_losses={})
    log.on_train_start(trainer, module)
    for step in range(1, 24):
        trainer.global_step = step
        module.last_losses = {"loss": torch.tensor(float(step)), "ce": torch.tensor(2.0 * step)}
        log.on_train_batch_end(trainer, module)
        if step == 20:
            trainer.callback_metrics["val_dsc"] = torch.tensor(0.25)
            log.on_validation_end(trainer, module)
            assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "learning_curve.png").unlink()
    log.on_train_end(trainer, module)
    assert (tmp_path / "learning_curve.png").is_file()
    found = [(row["step"], row["lr"], row["loss"], row["ce"], row["val_dsc"]) for row in rows_of(log.table)[1]]
    assert found == [
        ("10", "0.5", "5.5", "11", ""),
        ("20", "0.5", "15.5", "31", ""),
        ("20", "", "", "", "0.25"),
        ("23", "0.5", "22", "44", ""),
    ]
    assert [(step.step, step.loss, step.val_dsc) for step in steps[8:11]] == [
        (9, 5.0, None),  # the mean so far, as there is no row yet
        (10, 5.5, None),
        (11, 5.5, None),
    ]
    assert [step.step for step in steps if step.is_validated] == [20]
    assert (steps[-1].progress, steps[-1].loss, steps[-1].val_dsc) == (1.0, 15.5, 0.25)


def test_a_validation_that_only_times_a_case_leaves_no_row(tmp_path):
    log = CurveLog(tmp_path)
    trainer = SimpleNamespace(global_step=0, callback_metrics={"val_dsc": torch.tensor(0.5)}, sanity_checking=True)
    log.on_train_start(trainer, SimpleNamespace())
    log.on_validation_end(trainer, SimpleNamespace())
    assert rows_of(log.table)[1] == []
