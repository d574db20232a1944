"""The folder of a study: which study it holds, which runs have ended, and which process has which run."""

import shutil

import pytest

from sautomed import errors
from sautomed.study import loop, plan_runs, read_study_file
from sautomed.study.folder import StudyFolder, claimed, open_study

DIRECTIONS = [{"name": "mid to ends", "walk": "mid_to_ends"}, {"name": "end to end", "walk": "end_to_end"}]
LATER = [{"label": "A", "preset": "tiny", "left_out": "later"}]
A = {"label": "A", "preset": "tiny"}
B = {"label": "B", "preset": "tiny", "set": ["train.batch=2"]}


def test_a_folder_in_use_is_refused(run_file, study_file, output):
    run_file(study_file(models=LATER))
    with pytest.raises(errors.TargetExists, match=r"holds a study already.*--resume"):
        run_file(study_file(models=LATER))
    assert run_file(study_file(models=LATER), resume=True) == {}
    other = output.parent / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(errors.TargetExists, match="not empty"):
        run_file(study_file(), output=other, resume=True)


def test_while_another_process_trains_the_runs_that_need_it_wait(study_file, output):
    mid, end = plan_runs(read_study_file(study_file(settings=DIRECTIONS)))
    folder = StudyFolder(output)
    with claimed(folder, mid) as mine, claimed(folder, end) as other:
        assert (mine, other) == (True, False)
    model = folder.training(mid) / "model"
    model.mkdir(parents=True)
    (model / "MODEL_CARD.md").write_text("done")
    with claimed(folder, mid) as mine, claimed(folder, end) as other, claimed(folder, mid) as again:
        assert (mine, other, again) == (True, True, False)


def test_a_process_with_an_older_file_skips_runs_that_the_newest_has_changed(
    run_file, study_file, played_runs, monkeypatch, output
):
    """While it works, another process brings a file without B, and with other settings of C."""
    c, play = {"label": "C", "preset": "tiny", "set": ["train.steps=3"]}, loop.carry_out

    def newest_file():
        return study_file(models=[A, c | {"set": ["train.steps=4"]}, {"label": "D", "preset": "tiny"}])

    def carry_out_while_it_changes(run, *rest):
        if not played_runs:
            newest = read_study_file(newest_file())
            open_study(output, newest, plan_runs(newest), resume=True)
        return play(run, *rest)

    monkeypatch.setattr(loop, "carry_out", carry_out_while_it_changes)
    assert list(run_file(study_file(models=[A, B, c]))) == ["a__blocks__fold0__seed0"]
    run_file(newest_file(), resume=True)
    assert played_runs == [f"{name}__blocks__fold0__seed0" for name in "acd"]


@pytest.mark.parametrize("content", ["[]", '{"title": "x"}', '{"study": {"data": [{}]}, "runs": []}', "{"])
def test_a_damaged_description_is_refused_by_name(run_file, study_file, played_runs, output, content):
    run_file(study_file(models=[A]))
    (output / "study.json").write_text(content)
    with pytest.raises(errors.BadTable, match=r"study\.json"):
        run_file(study_file(models=[A]), resume=True)


def test_a_damaged_record_is_refused_by_name(run_file, study_file, played_runs, output):
    run_file(study_file(models=[A]))
    path = output / "runs" / "a__blocks__fold0__seed0" / "run.json"
    path.write_text("[]")
    with pytest.raises(errors.BadTable, match="Delete the run's folder"):
        run_file(study_file(models=[A]), resume=True)
    shutil.rmtree(path.parent)
    assert list(run_file(study_file(models=[A]), resume=True)) == ["a__blocks__fold0__seed0"]
