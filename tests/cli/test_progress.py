"""What commands show while they work: bars on a terminal, plain lines without one, nothing with -q."""

import io
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from sautomed import cli
from sautomed.cli import progress
from sautomed.cli.progress import Stages, shown_progress
from sautomed.cli.verbosity import reset_verbosity
from sautomed.inference.batch import Job
from sautomed.training.log import RunningStep

SOURCES = Path(cli.__file__).parents[2]


class Recorded:
    """A display that keeps what it is given."""

    def __init__(self):
        self.shown = []

    def show(self, run, stage, done, total, detail, *, news=False):
        self.shown.append((run, stage, done / total, detail, news))

    def clear(self, *stages):
        self.shown.append(stages)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def display():
    return Recorded()


@pytest.fixture
def terminal(monkeypatch):
    """Give the commands a terminal: terminal(TERM="dumb") gives it these variables of the environment."""

    def make(**environment):
        file = Terminal()
        console = Console(file=file, width=100, _environ=environment)
        monkeypatch.setattr(progress, "err", console)
        monkeypatch.setattr(sys.modules["sautomed.cli.app"], "err", console)  # the package calls its Typer `app`, too
        reset_verbosity()
        return file

    return make


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock by which a second passes between two reports."""
    now_s = iter(range(10**6))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(now_s)))


@pytest.fixture
def command(capfd, slow_clock):
    """Run a command line: its standard output, and the lines of its standard error."""

    def run(*arguments, code=0):
        capfd.readouterr()
        assert cli.run([str(argument) for argument in arguments]) == code
        captured = capfd.readouterr()
        return captured.out, captured.err.splitlines()

    return run


# --- the callbacks ---


def test_a_training_shows_step_loss_and_validation_and_a_validation_is_news(display):
    report = Stages(display).training("Training")
    report(RunningStep(0.25, 1, 2.0, None, None))
    report(RunningStep(0.5, 2, 4.0, 1.25, 0.5, is_validated=True))
    assert display.shown == [
        ("", "Training", 0.25, "step 1", False),
        ("", "Training", 0.5, "step 2 loss 1.250 validation DSC 0.500", True),
    ]


def test_segmenting_shows_scans_and_slices(display):
    report = Stages(display).slices("Segmenting", 2)
    first, second = (Job(case, Path(f"{case}.nii.gz"), ()) for case in "ab")
    for job, done in ((first, 5), (first, 10), (second, 5)):
        report(job, done, 10)
    assert [shown[2:4] for shown in display.shown] == [
        (0.25, "1/2 a slice 5/10"),
        (0.5, "1/2 a slice 10/10"),
        (0.75, "2/2 b slice 5/10"),
    ]


def test_the_stages_of_a_run_replace_those_of_the_run_before(display):
    Stages(display).of_run("SAMed, fold 1", "Training").counter("Training")(1, 2, "case")
    assert display.shown == [("Training",), ("SAMed, fold 1", "Training", 0.5, "1/2 case", False)]


# --- where it is shown ---


def test_a_terminal_shows_bars(terminal):
    file = terminal(TERM="xterm")
    with shown_progress() as stages:
        stages.counter("Scoring")(2, 3, "liver_1")
        stages.show("Runs", 1, 4)
        stages.of_run("SAMed", "Runs").show("Runs", 0, 4, "again")
    assert "━" in file.getvalue()
    assert "\x1b[" in file.getvalue()
    assert "2/3 liver_1" in file.getvalue()
    assert "again" in file.getvalue()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_a_terminal_that_cannot_move_its_cursor_shows_lines(terminal, environment):
    file = terminal(**environment)
    with shown_progress() as stages:
        stages.counter("Scoring")(2, 3, "[bold] :smile:")
    assert file.getvalue() == "Scoring 67 %: 2/3 [bold] :smile:\n"


# --- the commands, without a terminal ---


def test_a_training_writes_lines(command, small_training):
    out, lines = command(*small_training)
    assert out.startswith("Model: ")
    assert lines[0].startswith("Preparing 17 %: 1/6 block_")
    assert lines[1].startswith("Preparing 100 %: 6/6 block_")
    assert lines[-1].startswith("Scoring the validation cases 100 %: 2/2 block_")
    steps = [line for line in lines if line.startswith("Training")]
    assert steps[0].startswith("Training 25 %: step 1 loss ")
    assert any(line.startswith("Training 50 %, 0:00:0") and "step 2 loss " in line for line in steps)
    assert "step 4 loss" in steps[-1]
    assert "validation DSC" in steps[-1]
    assert not any(letter in "".join(lines) for letter in "\x1b\r")


def test_folders_of_scans_write_lines(command, trained_run, dataset_folder, tmp_path):
    masks = tmp_path / "masks"
    _, lines = command("segment", "-i", dataset_folder / "imagesTr", "-m", trained_run, "-o", masks, "--no-preview")
    assert lines[0] == "Segmenting 3 %: 1/6 block_0 slice 1/6"
    assert any("left: 2/6 block_1 slice " in line for line in lines)
    progress = [line for line in lines if line.startswith("Segmenting")]  # what to look at comes behind it
    assert progress[-1] == "Segmenting 100 %: 6/6 block_5 slice 6/6"
    (masks / "itksnap_labels.txt").unlink()
    _, lines = command("evaluate", "-p", dataset_folder / "labelsTr", "-r", dataset_folder, "-o", tmp_path / "scores")
    assert (lines[0], lines[-1]) == ("Scoring 17 %: 1/6 block_0", "Scoring 100 %: 6/6 block_5")
    _, lines = command("doctor", dataset_folder)
    assert (lines[0], lines[-1]) == ("Examining 17 %: 1/6 block_0", "Examining 100 %: 6/6 block_5")


def test_a_study_names_system_and_fold(command, dataset_folder, tmp_path, monkeypatch):
    def carry_out(run, study, data, folder, device, listener):
        for step in range(1, 4):
            listener.on_step(RunningStep(step / 3, step, step, 0.5, None))
        listener.on_segmented(1, 2, "block_0")
        folder.output(run).mkdir(parents=True)
        folder.record(run).write_text(json.dumps({"status": "done"}))
        return "done"

    monkeypatch.setattr("sautomed.study.loop.carry_out", carry_out)
    models = [{"label": label, "preset": "tiny"} for label in ("First", "Second")]
    study = {"title": "Two", "data": [{"name": "blocks", "folds": [0, 1]}], "models": models}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    folders = ("-o", tmp_path / "out", "--data", f"blocks={dataset_folder}")
    _, lines = command("study", tmp_path / "study.yaml", *folders)
    for done, (fold, label) in enumerate((fold, label) for fold in (0, 1) for label in ("First", "Second")):
        run = f"{label}, blocks, fold {fold}, seed 0"
        assert any(line.startswith(f"Runs {25 * done} %") and line.endswith(f": {done + 1}/4 {run}") for line in lines)
        for words in ("Training 33 %: step 1 loss 0.500", "Training 100 %: step 3 loss 0.500", "Segmenting 50 %: 1/2"):
            assert any(line.startswith(f"{run}: {words}") for line in lines)
        assert f"done: {run}" in lines
    out, lines = command("study", tmp_path / "study.yaml", *folders, "--resume", "-q")
    assert (out, lines) == (f"Study: {tmp_path / 'out'} (4 done)\n", [])


# --- -v and -q ---


@pytest.mark.parametrize("quiet", [("-q", "phantom"), ("phantom", "--quiet")])
def test_quiet_prints_the_result_alone(command, tmp_path, quiet):
    out, lines = command(*quiet, "-n", 1, "-o", tmp_path / "phantoms")
    assert (out, lines) == (f"1 phantoms: {tmp_path / 'phantoms'}\n", [])


def test_quiet_shows_no_bars(terminal, tmp_path):
    file = terminal(TERM="xterm")
    assert cli.run(["phantom", "-n", "1", "-o", str(tmp_path / "phantoms"), "-q"]) == 0
    assert file.getvalue() == ""


def test_errors_are_printed_although_it_is_quiet(command, tmp_path):
    out, lines = command("-q", "info", tmp_path / "missing", code=3)
    assert out == ""
    assert "does not exist" in "".join(lines)


def test_verbose_prints_more_lines(command, dataset_folder):
    _, lines = command("doctor", dataset_folder)
    _, more = command("doctor", dataset_folder, "-v")
    assert (len(lines), len(more)) == (2, 3)  # six cases, a second each
    assert len(command("doctor", dataset_folder)[1]) == 2  # of the next command it is not the choice


# --- a process without a terminal ---


@pytest.fixture
def process():
    """Start Python without a terminal, with our sources: process(code, *arguments)."""
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(SOURCES), "FORCE_COLOR": "1"}
        child = subprocess.Popen(
            [sys.executable, *map(str, arguments)], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        with child:  # closes its pipes
            pass


HELD = """
import sys
import sautomed.phantom
def write(output, count, kind, seed, on_case):
    on_case(1, 2, "first")
    sys.stdin.read()
    on_case(2, 2, "second")
sautomed.phantom.write_phantoms = write
from sautomed.cli import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="waits for a pipe with select")
def test_a_process_writes_a_line_long_before_it_ends(process, tmp_path):
    child = process("-c", HELD, "phantom", "-o", tmp_path)
    assert select.select([child.stderr], [], [], 120)[0]  # it cannot end before its standard input is closed
    assert child.stderr.readline() == b"Making phantoms 50 %: 1/2 first\n"
    out, rest = child.communicate()
    assert b"phantoms: " in out
    assert rest == b"Making phantoms 100 %: 2/2 second\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows has other pipes")
def test_the_work_goes_on_where_nobody_reads_the_lines(process, tmp_path):
    child = process("-c", HELD, "phantom", "-o", tmp_path)
    for pipe in (child.stderr, child.stdout):
        pipe.close()
    child.stdin.close()
    assert child.wait() == 0
