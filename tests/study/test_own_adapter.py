"""Trainings of this package's systems in a study: how they are resumed after a kill."""

import zipfile

import pytest

from sautomed.study import plan_runs, read_study_file
from sautomed.study.folder import StudyFolder

DIRECTIONS = [{"name": "mid to ends", "walk": "mid_to_ends"}, {"name": "end to end", "walk": "end_to_end"}]
RUN = "3d_sautomed__blocks__fold0__seed0"


@pytest.fixture
def plans(monkeypatch):
    """Interrupt every training at its start; returns their plans."""
    asked = []

    def train(plan, callbacks):
        asked.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr("sautomed.study.own_adapter.train", train)
    return asked


def begin_training(study_file, output):
    """Write what a killed attempt leaves of the one training of a study: settings and checkpoints."""
    (run,) = plan_runs(read_study_file(study_file(settings=DIRECTIONS[:1])))
    training = StudyFolder(output).training(run)
    (training / "checkpoints").mkdir(parents=True)
    (training / "config.json").write_text(run.settings.model_dump_json())
    for name in ("best", "last"):
        with zipfile.ZipFile(training / "checkpoints" / f"{name}.ckpt", "w") as archive:
            archive.writestr("data.pkl", "x" * 1000)
    return training


@pytest.fixture
def begun(run_file, study_file, output, plans):
    """A study whose one training was killed."""
    with pytest.raises(KeyboardInterrupt):
        run_file(study_file(settings=DIRECTIONS[:1]))
    return begin_training(study_file, output)


def test_a_training_is_resumed_with_the_walk_that_it_began_with(run_file, study_file, begun, plans):
    with pytest.raises(KeyboardInterrupt):
        run_file(study_file(settings=DIRECTIONS[::-1]), resume=True)  # which shares it
    assert (plans[-1].resume, plans[-1].settings.segment.walk) == (True, "mid_to_ends")


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_training_with_an_incomplete_checkpoint_begins_anew(run_file, study_file, begun, plans, name):
    path = begun / "checkpoints" / f"{name}.ckpt"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(KeyboardInterrupt):
        run_file(study_file(settings=DIRECTIONS[:1]), resume=True)
    assert not plans[-1].resume
    assert not (begun / "checkpoints").exists()


def test_a_kill_between_model_and_processor_time_loses_only_the_time(
    run_file, study_file, record, output, faulty_training
):
    faulty_training(None)
    run_file(study_file())
    next(output.glob("trainings/*/fold_0/spent.json")).unlink()
    (output / "runs" / RUN / "run.json").unlink()
    assert run_file(study_file(), resume=True) == {RUN: "done"}
    assert (record(RUN)["costs"]["steps"], record(RUN)["costs"]["cpu_minutes"]) == (4, None)
