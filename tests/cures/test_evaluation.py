"""Refusals of `evaluate` and of reports on scores, followed to the letter."""

import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest

from sautomed.scans import read_labels

from ..bad_input.conftest import noise, write
from ..datasets.block_dataset import BlockDataset

TRUTH = np.zeros((8, 8, 4), np.uint8)
TRUTH[2:5, 2:5] = 1


@pytest.fixture
def order(tmp_path):
    """Two predictions and their references, and the command that scores them."""
    for name in ("masks/a", "masks/b", "truth/a", "truth/b"):
        write(tmp_path / f"{name}.nii.gz", TRUTH)
    return "evaluate", "-p", tmp_path / "masks", "-r", tmp_path / "truth", "-o", tmp_path / "scores"


def test_a_convention_that_is_not_known(refuse, order):
    refusal = refuse("evaluation/conventions.py convention_named UsageError", *order, "--convention", "medpy")
    for name in refusal.take(r"Use one of (.+)\.").split(", "):
        refusal.works("--convention", name)


def test_a_case_that_cannot_be_scored_is_corrected(refuse, order, tmp_path):
    write(tmp_path / "masks" / "b.nii.gz", noise((8, 8, 4)))
    refusal = refuse("evaluation/evaluate.py _raise_if_failed SomeCasesFailed", *order)
    refusal.asks("Correct these and evaluate again")
    write(tmp_path / "masks" / "b.nii.gz", TRUTH)
    refusal.works()


def test_the_summary_of_a_segmentation_is_not_replaced(refuse, order, tmp_path):
    """It would be lost, and segment --resume would then refuse the folder."""
    summary = tmp_path / "masks" / "summary.json"
    summary.write_text(json.dumps({"schema": "sautomed summary 1", "cases": []}))
    before = summary.read_text()
    key = "evaluation/evaluate.py _refuse_foreign_summary TargetExists"
    refusal = refuse(key, *order, "-o", tmp_path / "masks")
    assert (summary.read_text(), (tmp_path / "masks" / "scores.csv").exists()) == (before, False)
    refusal.asks("Give another folder with -o").works("-o", tmp_path / "elsewhere")


def test_predictions_get_the_names_of_the_references(refuse, order, tmp_path):
    for name in "ab":
        (tmp_path / "masks" / f"{name}.nii.gz").rename(tmp_path / "masks" / f"mask_{name}.nii.gz")
    refusal = refuse("evaluation/pairs.py pair_files NoCases", *order)
    names = refusal.take(r"Name them as the references: (.+)\.$").split(", ")
    for path, name in zip(sorted((tmp_path / "masks").iterdir()), names, strict=True):
        path.rename(path.with_name(name))
    refusal.works()


def test_no_references_in_a_folder(refuse, order, tmp_path):
    blocks = BlockDataset(tmp_path / "data")
    given = ("evaluate", "-p", blocks.folder / "labelsTr", "-o", tmp_path / "scores", "-r")
    refusal = refuse("evaluation/pairs.py dataset_at NoCases", *given, tmp_path)
    refusal.asks("Give the folder that holds these files")
    refusal.works("-r", refusal.take(r"Nearest: (.+) is in the layout"))


def describe(folder, **labels):
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))


@pytest.mark.parametrize("cure", ["map", "ignore", "rename"])
def test_names_that_the_references_lack(refuse, order, tmp_path, cure):
    describe(tmp_path / "masks", **{"the liver": 1})
    describe(tmp_path / "truth", liver=1)
    refusal = refuse("scans/label_names.py unmatched_names UnmatchedNames", *order)
    if cure == "map":
        refusal.works(*shlex.split(refusal.take(r"with (--map '.+?=LABEL')").replace("LABEL", "liver")))
    elif cure == "ignore":
        refusal.works(*shlex.split(refusal.take(r"with (--ignore '.+?')")))
    else:
        refusal.asks("rename them in the file")
        describe(tmp_path / "masks", Liver=1)
        refusal.works()


@pytest.mark.parametrize("cure", ["map", "ignore"])
def test_values_that_the_references_lack(refuse, order, tmp_path, cure):
    describe(tmp_path / "truth", liver=1)
    write(tmp_path / "masks" / "b.nii.gz", TRUTH * 7)
    refusal = refuse("evaluation/evaluate.py _refuse_unknown refuse_unknown_values", *order)
    option = refusal.take(r"with (--map 7=)LABEL" if cure == "map" else r"(--ignore 7)")
    refusal.works(*(f"{option}liver" if cure == "map" else option).split())


def test_files_without_names_beside_files_that_number_labels_differently(refuse, order, tmp_path):
    two = np.where(TRUTH, 1, 2).astype(np.uint8)
    for case, names in (("a", {1: "liver", 2: "rest"}), ("b", {1: "rest", 2: "liver"})):
        labels = read_labels(write(tmp_path / "truth" / f"{case}.nii.gz", two))
        replace(labels, names=names).save(tmp_path / "truth" / f"{case}.nii.gz")
    refusal = refuse("evaluation/names.py labels_to_score UnmatchedNames", *order)
    refusal.asks("Name the labels of the files without names in a dataset.json beside them")
    describe(tmp_path / "masks", liver=1)
    refusal.works()


def test_a_folder_that_is_not_there(refuse, order, tmp_path):
    (tmp_path / "masks").rename(tmp_path / "predictions")
    refusal = refuse("evaluation/pairs.py _cases_in MissingFile", *order).asks("Check the path")
    refusal.works("-p", tmp_path / "predictions")


def test_two_files_of_one_case(refuse, order, command, tmp_path):
    masks = tmp_path / "masks"
    command("convert", "-i", masks / "a.nii.gz", "-o", masks / "a.nrrd", "--labels")
    refusal = refuse("evaluation/pairs.py _cases_in UnpairedFiles", *order).asks("Remove one of them")
    (masks / refusal.take(r"(\S+) and \S+ are the same case")).unlink()
    refusal.works()


def test_a_folder_without_label_maps(refuse, order, tmp_path):
    (tmp_path / "empty").mkdir()
    refusal = refuse("evaluation/pairs.py _cases_in NoCases", *order, "-p", tmp_path / "empty")
    refusal.asks("Name the folder with the label maps").works("-p", tmp_path / "masks")


def test_a_data_set_without_label_maps(refuse, tmp_path):
    blocks = BlockDataset(tmp_path / "data")
    (blocks.folder / "labelsTr").rename(tmp_path / "masks")
    order = ("evaluate", "-p", tmp_path / "masks", "-r", blocks.folder, "-o", tmp_path / "scores")
    refusal = refuse("evaluation/pairs.py _cases_of NoCases", *order).asks("Give a dataset with label maps")
    shutil.copytree(tmp_path / "masks", blocks.folder / "labelsTr")
    refusal.works()


# --- reports ---


@pytest.fixture
def report(order, command, tmp_path):
    """A function that writes the report of a training and its scores."""
    from sautomed.report import write_report

    assert command(*order)[0] == 0
    scores = tmp_path / "scores"
    (scores / "log.csv").write_text("step,elapsed_s,lr,loss,val_dsc\n10,5,0.001,0.8,\n20,11,,,0.61\n")

    def write_page():
        files = {"curve": scores / "log.csv", "scores": scores / "scores.csv", "summary": scores / "summary.json"}
        write_report(tmp_path / "page.html", title="", facts=[], pictures=[], **files)

    return write_page, scores


TABLES = [
    ("report/curves.py read_log BadTable", "log.csv", ("elapsed_s", "elapsed"), "Name the log.csv that sautomed train"),
    ("report/curves.py read_log BadTable 2", "log.csv", ("0.8", "much"), "Correct that field, or name another log.csv"),
    ("report/scores.py read_evaluation BadTable", "summary.json", ("counts", "count"), "that sautomed evaluate wrote"),
    ("report/scores.py read_case_scores BadTable", "scores.csv", ("status", "state"), "that sautomed evaluate wrote"),
    (
        "report/scores.py read_case_scores BadTable 2",
        "scores.csv",
        ("\na,1,", "\na,one,"),
        "that sautomed evaluate wrote",
    ),
]


@pytest.mark.parametrize(("key", "name", "change", "words"), TABLES)
def test_tables_of_other_programs(refuse_call, report, key, name, change, words):
    write_page, folder = report
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace(*change))
    refusal = refuse_call(key, write_page).asks(words, name)
    (folder / name).write_text(text)
    refusal.works()


def test_a_convention_of_another_version(refuse_call, report, order, command):
    write_page, folder = report
    path = folder / "summary.json"
    path.write_text(path.read_text().replace('"convention": "ours"', '"convention": "theirs"'))
    refusal = refuse_call("report/scores.py _convention BadTable", write_page)
    for name in refusal.take(r"Evaluate again by one of (.+)\.").split(", ")[:1]:
        assert command(*order, "--convention", name)[0] == 0
        refusal.works()
