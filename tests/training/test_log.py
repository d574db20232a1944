"""log.csv: a column for each loss, whatever a system calls it."""

import csv

import pytest

from sautomed.training.log import LogTable


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
