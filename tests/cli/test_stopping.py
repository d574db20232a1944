"""A signal at any moment of any command ends it cleanly, with a message that promises only what there is."""

import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

import pytest

from sautomed import cli, errors
from sautomed.cli.stopping import REPEATED_S, STOPPED, stop_explained, stops_raised
from sautomed.inference.bundle import load_bundle
from sautomed.training.log import RunningStep

SOURCES = Path(cli.__file__).parents[2]
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
if hasattr(signal, "SIGHUP"):
    STOPS.append((signal.SIGHUP, 143))
RESUMABLE = f"{STOPPED} The training goes on with --resume.\n"
NOTHING = "Stopped before the first checkpoint, so there is nothing to resume: train again without --resume.\n"


@pytest.fixture
def command(capsys):
    """Run a command line quietly: its exit code and its standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run(["-q", *map(str, arguments)])
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def send_when_called(monkeypatch):
    """Send this process a signal in a call of a function, the first by default, before the function works."""

    def arrange(module, name, number=signal.SIGTERM, call=1):
        calls, found = [], getattr(import_module(module), name)

        def sending(*arguments, **options):
            calls.append(name)
            if len(calls) == call:
                signal.raise_signal(number)
            return found(*arguments, **options)

        monkeypatch.setattr(import_module(module), name, sending)

    return arrange


def temporary_files(folder):
    return [path for path in folder.rglob(".*") if path.is_file()]


# --- signals become exceptions ---


def test_each_signal_raises_and_the_handlers_from_before_return():
    before = [signal.getsignal(number) for number in errors.STOP_SIGNALS]
    for number, error in errors.STOP_SIGNALS.items():
        with pytest.raises(error), stops_raised():
            signal.raise_signal(number)
    assert [signal.getsignal(number) for number in errors.STOP_SIGNALS] == before


def test_a_signal_soon_after_another_does_not_disturb_the_cleaning_up():
    now_s, cleaned = [100.0], []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            cleaned.append(True)

    with stops_raised(lambda: now_s[0]):
        with pytest.raises(errors.Terminated):
            work()
        now_s[0] += REPEATED_S
        with pytest.raises(KeyboardInterrupt):  # the stop was lost, or cleaning up takes too long
            signal.raise_signal(signal.SIGINT)
    assert cleaned == [True]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_under_nohup_a_closed_terminal_stops_nothing(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops_raised():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_signals_stay_with_the_main_one():
    worked = []

    def work():
        with stops_raised():
            worked.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert worked == [signal.getsignal(signal.SIGTERM)]


def test_an_explained_stop_keeps_its_kind():
    with pytest.raises(errors.Terminated, match="later"), stop_explained(lambda: "later"):
        raise errors.Terminated


# --- every command ---

VERBS = {
    "demo": (("-o", "{out}"), "sautomed.cli.demo", "run_demo"),
    "phantom": (("-o", "{out}"), "sautomed.phantom", "write_phantoms"),
    "evaluate": (("-p", "{data}", "-r", "{data}", "-o", "{out}"), "sautomed.evaluation.evaluate", "evaluate"),
    "convert": (("-i", "{data}", "-o", "{out}"), "sautomed.cli.convert", "convert_file"),
    "info": (("{data}",), "sautomed.cli.info", "describe"),
    "doctor": (("{data}",), "sautomed.datasets.doctor.examine", "examine"),
    "study": (("{data}/dataset.json", "-o", "{out}"), "sautomed.study", "run_study"),
    "report": (("{data}",), "sautomed.study.report", "write_study_report"),
    "studio": (("-m", "{data}", "-o", "{out}", "--no-browser"), "sautomed.inference.model", "load"),
    "segment": (("-i", "{data}/imagesTr", "-m", "{data}", "-o", "{out}"), "sautomed.inference.model", "load"),
    "merge": (("{data}",), "sautomed.inference.batch.merge", "merge"),
}


@pytest.mark.parametrize(("number", "code"), STOPS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_command_stops_and_promises_nothing(
    command, send_when_called, dataset_folder, tmp_path, verb, number, code
):
    options, module, function = VERBS[verb]
    send_when_called(module, function, number)
    given = [option.format(data=dataset_folder, out=tmp_path / "out") for option in options]
    assert command(verb, *given) == (code, f"{STOPPED}\n")


def test_every_command_is_tested():
    assert {*VERBS, "train"} == {found.callback.__name__ for found in cli.app.registered_commands}


# --- train ---


@pytest.mark.parametrize(
    ("module", "function", "call"),
    [
        ("sautomed.training.prepared_fold", "read_dataset", 1),
        ("sautomed.training.prepare", "_prepare_case", 2),
        ("sautomed.training.prepare", "atomic_write", 2),
        ("sautomed.training.train", "build_segmenter", 1),
        ("sautomed.training.learner", "make_optimizer", 1),  # within Lightning, before its first step
    ],
)
@pytest.mark.parametrize(("number", "code"), STOPS[:2])
def test_before_the_first_checkpoint_nothing_can_be_resumed(
    command, send_when_called, small_training, tmp_path, monkeypatch, module, function, call, number, code
):
    before = [signal.getsignal(stop) for stop in errors.STOP_SIGNALS]
    with monkeypatch.context():
        send_when_called(module, function, number, call)
        assert command(*small_training) == (code, NOTHING)
    assert temporary_files(tmp_path) == []
    assert [signal.getsignal(stop) for stop in errors.STOP_SIGNALS] == before
    assert command(*small_training, "--resume")[0] == errors.NothingToResume.exit_code


@pytest.mark.slow
def test_what_stopped_before_the_first_checkpoint_is_trained_anew(
    command, send_when_called, small_training, tmp_path, monkeypatch
):
    send_when_called("sautomed.training.train", "build_segmenter")
    assert command(*small_training) == (143, NOTHING)
    assert command(*small_training)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("sautomed.training.learner", "network_dice"),  # in a validation, which is completed
        ("sautomed.training.fit", "AtomicCheckpointIO"),  # between training and the model folder
        ("sautomed.inference.bundle_weights", "save"),
        ("sautomed.training.write_model", "score_cases"),
        ("sautomed.training.write_model", "write_model_card"),
    ],
)
def test_a_stop_after_the_first_checkpoint_loses_nothing(
    command, send_when_called, small_training, tmp_path, module, function
):
    send_when_called(module, function, call=2 if function == "AtomicCheckpointIO" else 1)
    assert command(*small_training) == (143, RESUMABLE)
    assert temporary_files(tmp_path) == []
    model = tmp_path / "run" / "fold_0" / "model"
    if function == "score_cases":  # the scores are missing, the model is whole
        load_bundle(model)
    elif function == "save":
        with pytest.raises(errors.NotAModel, match="is not a model folder"):
            load_bundle(model)
    assert command(*small_training, "--resume")[0] == 0
    assert len(load_bundle(model).labels) == 2
    names = {"config.json", "dataset.json", "intensities.json", "organ_sizes.json", "confidence.json"}
    names |= {"model.safetensors", "metrics.json", "MODEL_CARD.md"}
    assert {path.name for path in model.iterdir()} == names


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), STOPS)
def test_signals_that_follow_do_not_cut_the_last_step_short(
    command, small_training, tmp_path, monkeypatch, number, code
):
    """Slurm and `timeout` send SIGTERM to the process and to its group."""

    def on_step(step: RunningStep):
        if step.step == 1:
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("sautomed.cli.progress.Stages.training", lambda *_: on_step)
    assert command(*small_training) == (code, RESUMABLE)
    assert (tmp_path / "run" / "fold_0" / "checkpoints" / "last.ckpt").is_file()


# --- segment and study ---


@pytest.mark.parametrize(("call", "promise"), [(1, ""), (2, " The other scans are segmented with --resume.")])
def test_segment_promises_to_go_on_once_a_scan_is_done(
    command, send_when_called, dataset_folder, trained_run, tmp_path, monkeypatch, call, promise
):
    order = ("segment", "-i", dataset_folder / "imagesTr", "-m", trained_run, "-o", tmp_path / "masks", "--no-preview")
    send_when_called("sautomed.inference.batch.run", "segment_with_backoff", call=call)
    assert command(*order) == (143, f"{STOPPED}{promise}\n")
    assert temporary_files(tmp_path) == []
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == call - 1
    if promise:
        assert command(*order, "--resume")[0] == 0


def test_a_study_promises_to_go_on_once_it_has_begun(command, send_when_called, dataset_folder, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("{title: One, data: [{name: blocks}], models: [{label: Tiny, preset: tiny}]}")
    send_when_called("sautomed.study.loop", "carry_out")
    order = ("study", study, "-o", tmp_path / "out", "--data", f"blocks={dataset_folder}")
    assert command(*order) == (143, f"{STOPPED} The study goes on with --resume.\n")
    assert command(*order)[0] == errors.TargetExists.exit_code


# --- a process ---

STOPPED_IN_IMPORT = """
import os, signal, sys
from importlib.abc import MetaPathFinder
class Sending(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Sending())
from sautomed.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows kills at once")
def test_a_process_that_is_stopped_while_it_imports_says_so(tmp_path):
    order = ("train", "-d", tmp_path, "-o", tmp_path / "run", "-c", "tiny")
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_IMPORT, *map(str, order)],
        env={**os.environ, "PYTHONPATH": str(SOURCES)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", NOTHING)
