"""Refusals of `study` and `report`, followed to the letter."""

import json
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from sautomed.datasets import read_dataset
from sautomed.datasets.folds import Fold

ROOT = Path(__file__).parents[2]
A = {"label": "A", "preset": "tiny"}
RUN = "a__blocks__fold0__seed0"
FOLD = Fold(("block_0", "block_3"), ("block_1",))


@pytest.fixture(autouse=True)
def played_runs(monkeypatch):
    """Replace trainings: write the run.json of a run that is done, or has failed."""

    def play(run, study, data, folder, device, listener):
        shutil.rmtree(folder.output(run), ignore_errors=True)
        folder.output(run).mkdir(parents=True)
        status = "failed" if run.label == "Failing" and study.minutes is None else "done"
        entry = {
            "id": run.id, "order": run.order, "label": run.label, "model": run.model, "dataset": run.dataset,
            "fold": run.fold, "seed": run.seed, "note": run.note, "setting": run.setting, "status": status,
            "error": None if status == "done" else {"id": "", "text": "a fault"},
            "cases": list(data.folds[run.fold].val),
            "labels": {str(value): name for value, name in data.dataset.labels.items()},
        }  # fmt: skip
        folder.record(run).write_text(json.dumps(entry))
        return status

    monkeypatch.setattr("sautomed.study.loop.carry_out", play)


@pytest.fixture
def data(dataset_folder, tmp_path):
    """A copy of the blocks, to be changed."""
    return shutil.copytree(dataset_folder, tmp_path / "blocks")


@pytest.fixture
def write(data, tmp_path):
    """Write a study file of the blocks, with these entries replaced."""

    def write_file(**changes):
        tree = {"title": "Blocks", "data": [{"name": "blocks", "folder": str(data)}], "models": [A]}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree | changes))
        return tmp_path / "study.yaml"

    return write_file


@pytest.fixture
def order(write, tmp_path):
    """Write a study file, and return the command that carries it out."""

    def command_of(**changes):
        return "study", write(**changes), "-o", tmp_path / "out", "--device", "cpu"

    return command_of


# --- the study file and its data ---


def test_a_study_file_that_is_not_there(refuse, command, order, tmp_path):
    _, file, *options = order()
    refusal = refuse("config/load.py read_yaml UnknownSetting", "study", tmp_path / "studdy.yaml", *options)
    refusal.asks("Give the path of a YAML file")
    assert command("study", file, *options)[0] == 0


def test_a_file_that_is_no_study(refuse, order, write):
    refusal = refuse("study/study_file.py read_study_file UnknownSetting", *order(models=[]))
    pattern = yaml.safe_load(next((ROOT / refusal.take(r"files in (studies/)")).glob("mini_chaos.yaml")).read_text())
    write(models=pattern["models"][-1:])
    refusal.works()


def test_a_data_set_of_another_name(refuse, command, order, data):
    refusal = refuse("study/study_file.py read_study_file UnknownSetting 2", *order(), "--data", f"chaos={data}")
    name = refusal.take(r"Use one of (\w+)\.")
    assert command(*order(), "--data", f"{name}={data}")[0] == 0


@pytest.mark.parametrize("given", ["blocks", "=folder", "blocks="])
def test_data_without_name_or_folder(refuse, command, order, data, given):
    refusal = refuse("cli/study_commands.py _parse_folders UsageError", *order(), "--data", given)
    option, name, _ = refusal.take(r"example, (--data) (\w+)=(\w+)\.")
    file = order(data=[{"name": name}])
    assert command(*file, option, f"{name}={data}")[0] == 0


def test_a_data_set_without_folder(refuse, order, data):
    refusal = refuse("study/study_file.py _with_folder UnknownSetting", *order(data=[{"name": "blocks"}]))
    option, value = refusal.take(r"Give (--data) (blocks=FOLDER)")
    refusal.works(option, value.replace("FOLDER", str(data)))


def test_a_preset_of_nnunet_with_other_settings(refuse, order, write):
    entry = {"label": "N", "preset": "nnunet", "left_out": "later"}
    refusal = refuse(
        "study/nnunet/settings.py read_changes UnknownSetting", *order(models=[entry | {"set": ["dim=2"]}])
    )
    assert refusal.take(r"Choose from (\w+),") == "configuration"
    write(models=[entry | {"set": [refusal.take(r"example, (\S+)\.")]}])
    refusal.works()


def test_runs_of_one_name(refuse, order, write):
    refusal = refuse("study/plan.py plan_runs UnknownSetting", *order(models=[A, A | {"label": "a!"}]))
    refusal.asks("names that differ in their letters and digits")
    write(models=[A, A | {"label": "b"}])
    refusal.works()


@pytest.mark.parametrize("cure", ["fewer", "all"])
def test_more_training_cases_than_there_are(refuse, order, write, tmp_path, cure):
    refusal = refuse("study/data.py _refuse_too_few_cases UnknownSetting", *order(settings=[{"train_cases": 9}]))
    assert refusal.take(r"or leave (\w+) out") == "train_cases"
    most = int(refusal.asks("Ask for fewer").take(r"of blocks has (\d+)"))
    write(settings=[{"train_cases": most}] if cure == "fewer" else [{}])
    refusal.works("--resume")


def test_minutes_that_no_training_can_take(refuse, command, order):
    refusal = refuse("study/loop.py _check_minutes UsageError", *order(), "--max-minutes-per-run", "inf")
    assert refusal.asks("or leave it out").take(r"a number above (\d)") == "0"
    assert command(*order(), "--max-minutes-per-run", 1)[0] == 0


# --- the folder ---


@pytest.mark.parametrize("cure", ["resume", "another"])
def test_a_folder_that_holds_the_study_already(refuse, command, order, tmp_path, cure):
    assert command(*order())[0] == 0
    refusal = refuse("study/folder.py open_study TargetExists", *order())
    if cure == "resume":
        refusal.works(refusal.take("Use (--resume)"))
    else:
        refusal.works(refusal.take("another (-o)"), tmp_path / "new")


def test_a_folder_that_holds_something_else(refuse, order, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    refusal = refuse("study/folder.py open_study TargetExists 2", *order())
    refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")


DESCRIPTIONS = [
    ("study/folder.py _read_object BadTable", []),
    ("study/resume.py known_runs BadTable", {"title": "Blocks"}),
]


@pytest.mark.parametrize(("key", "content"), DESCRIPTIONS)
def test_a_damaged_description(refuse, command, order, tmp_path, key, content):
    assert command(*order())[0] == 0
    (tmp_path / "out" / "study.json").write_text(json.dumps(content))
    refusal = refuse(key, *order(), "--resume")
    refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")


def test_a_damaged_run_is_deleted(refuse, command, order, tmp_path):
    assert command(*order())[0] == 0
    (tmp_path / "out" / "runs" / RUN / "run.json").write_text("[]")
    refusal = refuse("study/folder.py _read_object BadTable", *order(), "--resume").asks("Delete the run's folder")
    shutil.rmtree(Path(refusal.error.where).parent)
    refusal.works()


@pytest.mark.parametrize("cure", ["restore", "another"])
def test_other_folds_than_those_of_the_runs(refuse, command, order, tmp_path, cure):
    assert command(*order())[0] == 0
    path = tmp_path / "out" / "splits" / "blocks.json"
    folds = path.read_text()
    path.write_text(json.dumps(json.loads(folds)[::-1]))
    refusal = refuse("study/data.py refuse_changed_folds_or_organs BadSplits", *order(), "--resume")
    refusal.asks("Restore this file and the cases")
    assert refusal.error.where == str(path)
    if cure == "restore":
        path.write_text(folds)
        refusal.works()
    else:
        refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")


@pytest.mark.parametrize("cure", ["restore", "another"])
def test_other_organs_than_those_of_the_runs(refuse, command, order, data, tmp_path, cure):
    assert command(*order())[0] == 0
    path = data / "dataset.json"
    before = path.read_text()
    path.write_text(before.replace("bright", "light"))
    refusal = refuse("study/data.py refuse_changed_folds_or_organs TargetExists", *order(), "--resume")
    refusal.asks("Restore the data set")
    if cure == "restore":
        path.write_text(before)
        refusal.works()
    else:
        refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")


@pytest.mark.parametrize("cure", ["as it was", "label", "another"])
def test_scores_that_would_mix(refuse, command, order, write, tmp_path, cure):
    assert command(*order())[0] == 0
    changed = A | {"set": ["train.batch=1"]}
    refusal = refuse("study/resume.py refuse_mixture TargetExists", *order(models=[changed]), "--resume")
    refusal.asks("the study file as it was (a changed row under a new label)")
    if cure == "another":
        refusal.works(refusal.take("another folder with (-o)"), tmp_path / "new")
    else:
        write(models=[A] if cure == "as it was" else [A, changed | {"label": "B"}])
        refusal.works()


def test_failed_runs_are_tried_again(refuse, order, write):
    failing = A | {"label": "Failing"}
    refusal = refuse("study/loop.py _outcome SomeCasesFailed", *order(models=[failing]))
    record = next(Path(refusal.error.where).glob(f"*/{refusal.take(r'each (run.json) gives')}"))
    assert json.loads(record.read_text())["error"]["text"] == "a fault"
    write(models=[failing | {"set": ["train.batch=1"]}], minutes=3)  # the fault is corrected
    refusal.asks("Correct what it names").works(refusal.take("again with (--resume)"))


# --- the report ---


@pytest.mark.parametrize("cure", ["wait", "start"])
def test_a_report_of_no_run(refuse, command, order, tmp_path, monkeypatch, cure):
    monkeypatch.setattr("sautomed.study.report.page.write_study_report", lambda folder, *_: folder / "page")
    monkeypatch.setattr("sautomed.study.report.write_study_report", read_only)
    assert command(*order())[0] == 0
    runs = tmp_path / "out" / "runs" / RUN
    runs.rename(tmp_path / "elsewhere")
    refusal = refuse("study/report/runs.py read_study MissingFile", "report", tmp_path / "out")
    refusal.asks("Wait for the first one, or start the study")
    if cure == "wait":
        (tmp_path / "elsewhere").rename(runs)
    else:
        assert command(*order(), "--resume")[0] == 0
    refusal.works()


def read_only(folder, *_):
    """Read what a report needs, but draw nothing."""
    from sautomed.study.report.runs import read_study

    read_study(folder)
    return Path(folder) / "report" / "index.html"


def wrong_type(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fold": "first"}))


RECORDS = [
    ("study/report/runs.py _read_run BadTable", wrong_type),
    ("study/report/runs.py _read_object BadTable", lambda path: path.write_text("[]")),
]


@pytest.mark.parametrize(("key", "spoil"), RECORDS)
def test_a_run_that_cannot_be_reported_is_done_again(refuse, command, order, tmp_path, monkeypatch, key, spoil):
    monkeypatch.setattr("sautomed.study.report.write_study_report", read_only)
    assert command(*order())[0] == 0
    spoil(tmp_path / "out" / "runs" / RUN / "run.json")
    refusal = refuse(key, "report", tmp_path / "out")
    refusal.asks("Delete the run's folder")
    shutil.rmtree(Path(refusal.error.where).parent)
    _, verb, option = refusal.take(r"with (sautomed study --resume)\.").split()
    assert verb == order()[0]
    assert command(*order(), option)[0] == 0
    refusal.works()


def test_a_case_of_a_report_is_restored(refuse_call, dataset_folder):
    from sautomed.study.report.cases import _find

    dataset = read_dataset(dataset_folder)
    refusal = refuse_call("study/report/cases.py _find MissingFile", _find, dataset, "block_9")
    refusal.asks("Restore the dataset as it was").works(dataset, "block_1")


# --- nnU-Net ---


@pytest.fixture
def nnunet(monkeypatch):
    """nnU-Net, installed as it seems, with a program in place of its steps."""
    from sautomed.study.nnunet import process

    monkeypatch.setattr(process, "find_spec", lambda name: name)

    def play(code):
        steps = "import json, sys; done = sys.argv[1].replace('.json', '_done.json'); " + code
        monkeypatch.setattr(
            process, "command", lambda step, folder: [sys.executable, "-c", steps, str(process.job_path(step, folder))]
        )

    return play


def test_nnunet_is_installed_or_left_out(refuse_call, monkeypatch):
    from sautomed.study.nnunet import process

    monkeypatch.setattr(process, "find_spec", lambda name: None)
    refusal = refuse_call("study/nnunet/process.py require_available PackageMissing", process.require_available)
    extra = refusal.asks("or leave nnU-Net out").take(r'pip install "sautomed\[(\w+)\]"')
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    monkeypatch.setattr(process, "find_spec", lambda name: name)
    refusal.works()


def test_a_step_that_stops_is_run_again(refuse_call, nnunet, tmp_path):
    from sautomed.study.nnunet.process import run_step

    nnunet("sys.exit('no space for the plans')")
    refusal = refuse_call("study/nnunet/process.py run_step ExternalFailed", run_step, "train", {}, tmp_path, "cpu")
    assert "no space for the plans" in (tmp_path / refusal.take(r"is in (\S+)\.$")).read_text()
    nnunet("json.dump({}, open(done, 'w'))")
    refusal.asks("then run it again").works()


def test_a_result_that_is_no_object_is_made_again(refuse_call, nnunet, tmp_path):
    from sautomed.study.nnunet.process import run_step

    nnunet("json.dump([], open(done, 'w'))")
    refusal = refuse_call("study/nnunet/process.py run_step ExternalFailed 2", run_step, "train", {}, tmp_path, "cpu")
    nnunet("json.dump({}, open(done, 'w'))")
    refusal.asks("Run the step again").works()


def test_a_prediction_of_unknown_classes_is_made_by_another_training(refuse_call, dataset_folder, tmp_path):
    from sautomed.study.nnunet.raw import convert_prediction

    dataset = read_dataset(dataset_folder)
    case = dataset.cases[1]
    image = nibabel.load(case.label)

    def predict(value):
        array = np.full(image.shape, value, np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, image.affine), tmp_path / "predicted.nii.gz")

    predict(7)
    arguments = (tmp_path / "predicted.nii.gz", dataset, case, tmp_path / "out.nii.gz")
    refusal = refuse_call("study/nnunet/raw.py convert_prediction ExternalFailed", convert_prediction, *arguments)
    predict(int(refusal.asks("Train it again on this data set").take(r"was trained on (\d+)")))
    refusal.works()


@pytest.fixture
def steps(monkeypatch, nnunet):
    """Steps of nnU-Net that take a minute each, on a clock of their own."""
    from sautomed.study.nnunet import train_and_predict

    costs = {"processor_s": 60.0, "plans": "P", "model": "M", "steps": 7, "parameters": 11}
    monkeypatch.setattr(train_and_predict, "run_step", lambda *_: costs)


def test_planning_takes_more_minutes(refuse_call, steps, dataset_folder, tmp_path):
    from sautomed.study.nnunet import train

    dataset = read_dataset(dataset_folder)

    def train_for(minutes):
        train(dataset, FOLD, tmp_path, minutes=minutes, clock="processor", device="cpu")

    key = "study/nnunet/train_and_predict.py _budget ExternalFailed"
    refusal = refuse_call(key, train_for, 0.5)
    refusal.works(float(refusal.take(r"more than (\S+) minutes")) + 0.5)


def test_a_training_that_has_not_finished(refuse_call, steps, dataset_folder, tmp_path):
    from sautomed.study.nnunet import read_training, train

    key = "study/nnunet/train_and_predict.py read_training NotAModel"
    refusal = refuse_call(key, read_training, tmp_path).asks("Train it first, with nnunet.train")
    train(read_dataset(dataset_folder), FOLD, tmp_path, device="cpu")
    refusal.works()
