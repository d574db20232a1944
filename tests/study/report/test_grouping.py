import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.errors import UsageError
from sautomed.report.scores import CaseScore
from sautomed.study.report.grouping import Row, ScoredRun, comparable_groups, folds_text
from sautomed.study.report.runs import Run, read_study

AUTOMED = "3d_sautomed__blobs__fold0__seed0"


def names(group) -> list[str]:
    return [row.name for row in group.rows]


def test_folds_are_one_row_and_systems_of_the_same_folds_share_a_group(fake_study):
    group = comparable_groups(read_study(fake_study))[0]
    assert names(group) == ["3D-SAutoMed", "SAMed", "TransUNet", "Slide-SAM"]
    assert [run.fold for run in group.rows[0].runs] == [0, 1]
    assert group.patients == tuple(f"case_{i}" for i in range(8))
    assert group.labels == {1: "liver", 2: "left_kidney", 3: "gallbladder"}
    assert group.caption == "blobs, folds 0 and 1, 8 patients"


def test_systems_without_scores_are_named_with_their_reasons(fake_study):
    absent = {row.name: row for row in comparable_groups(read_study(fake_study))[0].absent}
    assert absent["Swin-Unet"].status == "failed"
    assert "8.1 GB" in absent["Swin-Unet"].reason
    assert (absent["SAM"].status, absent["SAM"].prompts) == ("left out", "points from the truth")


def test_a_system_that_lacks_a_fold_is_in_a_group_of_its_own_and_both_groups_give_the_reason(fake_study):
    home, apart = comparable_groups(read_study(fake_study))
    assert names(apart) == ["MA-SAM"]
    assert "lacks fold 1, which others have" in apart.caption
    assert apart.name != home.name
    reason = next(row.reason for row in home.absent if row.name == "MA-SAM")
    assert reason.startswith("fold 1: 8.1 GB")
    assert "its own table" in reason


def test_an_oracle_has_its_prompts_in_words(fake_study):
    group = comparable_groups(read_study(fake_study))[0]
    assert [row.prompts for row in group.rows if row.is_oracle] == ["box from the truth"]
    assert "Slide-SAM" not in [row.name for row in group.unprompted]


@pytest.mark.parametrize(
    "entries", [{"tolerance_mm": 1.0}, {"convention": "monai"}, {"dataset": "other blobs"}, {"seed": 1, "fold": 3}]
)
def test_scores_of_another_way_never_share_a_group(study_copy, change_run, entries):
    change_run(study_copy, AUTOMED, **entries)
    for group in comparable_groups(read_study(study_copy)):
        runs = [run for row in group.rows for run in row.runs]
        if any(run.id == AUTOMED for run in runs):
            assert {run.label for run in runs} == {"3D-SAutoMed"}


def test_other_names_of_organs_set_a_system_apart(study_copy):
    for run in read_study(study_copy).runs:
        if run.label == "3D-SAutoMed":
            run.scores_csv.write_text(run.scores_csv.read_text().replace("left_kidney", "kidneys"))
    home, *apart = comparable_groups(read_study(study_copy))
    assert "3D-SAutoMed" not in names(home)
    assert ["3D-SAutoMed"] in [names(group) for group in apart]


def test_each_setting_is_a_row(study_copy, change_run):
    few = AUTOMED.replace("fold0", "fold1")
    change_run(study_copy, few, setting="3 cases")
    rows = [name for group in comparable_groups(read_study(study_copy)) for name in names(group)]
    assert {"3D-SAutoMed", "3D-SAutoMed (3 cases)"} <= set(rows)
    change_run(study_copy, few, fold=0)
    (run,) = (run for run in read_study(study_copy).runs if run.id == few)
    run.scores_csv.write_text((study_copy / "runs" / AUTOMED / "scores" / "scores.csv").read_text())
    group = next(g for g in comparable_groups(read_study(study_copy)) if "3D-SAutoMed" in names(g))
    assert "3D-SAutoMed (3 cases)" in names(group)


def test_scans_that_are_of_other_patients_set_a_system_apart(study_copy, change_run):
    change_run(study_copy, AUTOMED, patients={"case_0": "p", "case_1": "p"})
    home, *apart = comparable_groups(read_study(study_copy))
    assert names(home) == ["SAMed", "TransUNet", "Slide-SAM"]
    assert ["3D-SAutoMed"] in [names(group) for group in apart]


def test_seeds_with_other_cases_are_no_further_folds(study_copy, change_run):
    for run in read_study(study_copy).runs:
        if run.label == "3D-SAutoMed":
            change_run(study_copy, run.id, fold=0, seed=run.fold)
        elif run.fold == 1:
            change_run(study_copy, run.id, status="left_out")
    assert names(comparable_groups(read_study(study_copy))[0]) == ["SAMed", "TransUNet", "Slide-SAM", "MA-SAM"]


def test_a_case_that_could_not_be_scored_sets_a_system_apart(study_copy):
    run = next(run for run in read_study(study_copy).runs if run.id == AUTOMED)
    lines = [
        ",".join(line.split(",")[:3]) + "," * (line.count(",") - 3) + ",failed" if line.startswith("case_0") else line
        for line in run.scores_csv.read_text().splitlines()
    ]
    run.scores_csv.write_text("\n".join(lines) + "\n")
    assert all(
        "SAMed" not in names(g) or "3D-SAutoMed" not in names(g) for g in comparable_groups(read_study(study_copy))
    )


def test_seeds_are_counted_in_the_caption(study_copy, change_run):
    change_run(study_copy, AUTOMED.replace("fold0", "fold1"), fold=0, seed=1)
    second = study_copy / "runs" / AUTOMED.replace("fold0", "fold1") / "scores" / "scores.csv"
    second.write_text((study_copy / "runs" / AUTOMED / "scores" / "scores.csv").read_text())
    group = next(g for g in comparable_groups(read_study(study_copy)) if "3D-SAutoMed" in names(g))
    assert "2 seeds averaged for each patient" in group.caption
    assert len(group.patients) == 4


def test_a_dataset_on_which_nothing_was_scored_still_says_why(study_copy, change_run):
    change_run(study_copy, AUTOMED, dataset="Kidneys (small)", status="failed", error={"id": "", "text": "no memory"})
    group = next(g for g in comparable_groups(read_study(study_copy)) if g.dataset == "Kidneys (small)")
    assert (group.name, group.rows, group.patients) == ("kidneys_small", (), ())
    assert group.absent[0].reason == "no memory"


def test_names_of_groups_differ(study_copy, change_run):
    for number, path in enumerate(sorted((study_copy / "runs").iterdir())):
        run_id = json.loads((path / "run.json").read_text())["id"]
        change_run(study_copy, run_id, dataset=("blobs", "BLOBS", "blobs 2")[number % 3])
    found = [group.name for group in comparable_groups(read_study(study_copy))]
    assert len(found) == len(set(found))


def test_an_unknown_convention_is_refused(study_copy, change_run):
    change_run(study_copy, AUTOMED, convention="mine")
    with pytest.raises(UsageError, match="mine"):
        comparable_groups(read_study(study_copy))


def run_of(fold: int, seed: int, cases: list[str], tmp_path="/nowhere") -> ScoredRun:
    run = Run(f"{fold}-{seed}", "A", "a", "data", fold, "done", tmp_path, seed=seed)
    return ScoredRun(run, tuple(CaseScore(case, 1, "liver", {"dsc": 0.5}, "scored") for case in cases))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), unique=True, min_size=1), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_scope_of_a_row_does_not_depend_on_the_order_of_its_runs(runs, random):
    scored = [run_of(fold, seed, [f"{fold}a", f"{fold}b"]) for fold, seed in runs]
    shuffled = random.sample(scored, len(scored))
    assert Row(tuple(scored)).scope == Row(tuple(shuffled)).scope
    assert sum(seeds for *_, seeds in Row(tuple(scored)).scope) == len(runs)


def test_folds_read_as_words():
    assert [folds_text(folds) for folds in ([], [2], [0, 1], [0, 1, 3])] == [
        "no fold", "fold 2", "folds 0 and 1", "folds 0, 1 and 3",
    ]  # fmt: skip
