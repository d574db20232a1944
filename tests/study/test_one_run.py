"""One run of a study: how errors end it, and which adapter carries it out."""

import pytest

from sautomed import errors
from sautomed.study import StudyOutcome
from sautomed.study.one_run import EXTERNAL_ADAPTERS
from sautomed.study.plan import EXTERNAL_CHECKS

RUN = "3d_sautomed__blocks__fold0__seed0"


@pytest.mark.parametrize(
    ("fault", "error_id", "words"),
    [
        (MemoryError("of 9 GB"), errors.MemoryShortage.id, "ran out of memory: of 9 GB"),
        (errors.TrainingDiverged("the loss became nan.", cure="Less."), errors.TrainingDiverged.id, "became nan"),
        (KeyError("x"), "", "a bug, see error.txt: KeyError"),
        (OSError(28, "No space left on device"), "", "by the system, see error.txt: [Errno 28] No space left"),
    ],
)
def test_a_failed_run_is_recorded_and_the_others_go_on(
    run_file, study_file, small_preset, record, output, faulty_training, fault, error_id, words
):
    faulty_training(fault)
    models = [
        {"label": "Broken", "preset": small_preset, "set": ["model.prompt=false"]},
        {"label": "3D-SAutoMed", "preset": small_preset},
    ]
    file = study_file(models=models)
    with pytest.raises(errors.SomeCasesFailed, match=r"1 of 2 runs failed \(broken__") as some:
        run_file(file)
    assert isinstance(some.value.result, StudyOutcome)
    assert some.value.result.counts == {"failed": 1, "done": 1}
    broken = record("broken__blocks__fold0__seed0")
    assert (broken["status"], broken["error"]["id"]) == ("failed", error_id)
    assert words in broken["error"]["text"]
    assert record(RUN)["status"] == "done"
    written = (output / "runs" / RUN / "run.json").stat().st_mtime_ns
    stale = output / "runs" / broken["id"] / "prompts" / "block_0.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    faulty_training(errors.UsageError("another fault.", cure=""))
    with pytest.raises(errors.SomeCasesFailed):
        run_file(file, resume=True)
    assert "another fault" in record("broken__blocks__fold0__seed0")["error"]["text"]  # tried again
    assert not stale.exists()
    assert (output / "runs" / RUN / "run.json").stat().st_mtime_ns == written  # not carried out again


def test_every_external_system_has_a_check_of_its_changes_and_an_adapter():
    assert EXTERNAL_ADAPTERS.keys() == EXTERNAL_CHECKS.keys()
