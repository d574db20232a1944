"""Folds are by case, by seed, and never leak."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.datasets.folds import Fold, load_or_make_folds, make_folds, select_fold
from sautomed.errors import BadSplits, FoldOutOfRange, NoCases

IDS = [f"case_{i:02}" for i in range(12)]

some_ids = st.lists(st.text("abc_01", min_size=1, max_size=6), min_size=2, max_size=40, unique=True)


@given(some_ids, st.integers(0, 9), st.integers(2, 7))
def test_each_case_validates_once_and_never_where_it_trains(ids, seed, count):
    folds = make_folds(ids, seed, count)
    assert len(folds) == min(count, len(ids))
    assert sorted(case for fold in folds for case in fold.val) == sorted(ids)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(ids)
    sizes = [len(fold.val) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


@given(some_ids, st.randoms())
def test_the_order_of_the_files_does_not_matter(ids, random):
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert make_folds(shuffled, 3) == make_folds(ids, 3)


def test_another_seed_gives_other_folds():
    assert make_folds(IDS, 0) == make_folds(IDS, 0)
    assert make_folds(IDS, 0) != make_folds(IDS, 1)


def test_no_case_cannot_be_split():
    with pytest.raises(NoCases) as caught:
        make_folds([])
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0309", 3)


@pytest.mark.parametrize(("ids", "count"), [(["a", "a"], 5), (["a", "b"], 1)])
def test_what_a_caller_must_not_ask_for(ids, count):
    with pytest.raises(ValueError, match=r"twice|at least 2"):
        make_folds(ids, count=count)


def test_the_file_is_nnunets_and_is_kept(tmp_path):
    path = tmp_path / "splits_final.json"
    folds = load_or_make_folds(path, IDS, seed=0)
    content = json.loads(path.read_text())
    assert [set(entry) for entry in content] == [{"train", "val"}] * 5
    assert tuple(content[2]["val"]) == folds[2].val
    assert load_or_make_folds(path, IDS, seed=99) == folds


def test_folds_that_someone_wrote_are_taken_even_if_cases_are_left_out(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["case_00"], "val": ["case_01"]}]))
    assert load_or_make_folds(path, IDS) == [Fold(("case_00",), ("case_01",))]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", "not valid JSON"),
        ("[]", "must be a list of folds"),
        ('{"train": []}', "must be a list of folds"),
        ('[{"train": ["case_00"]}]', "fold 0 must be"),
        ('[{"train": ["case_00"], "val": [3]}]', "fold 0 must be"),
        ('[{"train": [], "val": ["case_00"]}]', "fold 0 has no case to train on"),
        ('[{"train": ["case_00"], "val": ["lost"]}]', "names 1 cases that the dataset does not have: lost"),
        ('[{"train": ["case_00", "case_01"], "val": ["case_01"]}]', "validates on: case_01"),
    ],
)
def test_bad_splits_are_refused(tmp_path, content, words):
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    with pytest.raises(BadSplits, match=words) as caught:
        load_or_make_folds(path, IDS)
    assert str(path) in str(caught.value)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0317", 3)


@pytest.mark.parametrize("fold", [-1, 5, 100])
def test_a_fold_out_of_range_is_refused_with_the_range(fold):
    with pytest.raises(FoldOutOfRange, match=rf"fold {fold} is out of range.*5 folds, 0 to 4") as caught:
        select_fold(make_folds(IDS), fold)
    assert (caught.value.id, caught.value.exit_code) == ("SAM-E0310", 3)


def test_one_fold_is_selected_by_number():
    folds = make_folds(IDS)
    assert select_fold(folds, 3) == folds[3]


def test_all_trains_on_every_case_and_validates_on_none():
    assert select_fold(make_folds(IDS), "all") == Fold(tuple(IDS), ())


def test_one_case_can_only_be_trained_on():
    folds = make_folds(["only"])
    assert select_fold(folds, "all") == Fold(("only",), ())
    with pytest.raises(FoldOutOfRange, match="-f all"):
        select_fold(folds, 0)


# --- scans of one patient ---------------------------------------------------------------------------------------------

some_patients = st.dictionaries(st.text("abc_01", min_size=1, max_size=6), st.integers(0, 7), min_size=2, max_size=30)


@given(some_patients, st.integers(0, 9), st.integers(2, 7))
def test_scans_of_one_patient_stay_together(patients, seed, count):
    groups = {case: f"patient {number}" for case, number in patients.items()}
    folds = make_folds(list(groups), seed, count, groups)
    if len(set(groups.values())) == 1:
        assert folds == [Fold(tuple(sorted(groups)), ())]
        return
    assert len(folds) == min(count, len(set(groups.values())))
    assert sorted(case for fold in folds for case in fold.val) == sorted(groups)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(groups)
        assert not {groups[case] for case in fold.train} & {groups[case] for case in fold.val}


@given(some_ids, st.integers(0, 9))
def test_where_every_case_is_a_patient_the_folds_are_those_without_groups(ids, seed):
    assert make_folds(ids, seed, groups={case: case for case in ids}) == make_folds(ids, seed)


def test_the_folds_of_earlier_runs_stay_as_they_were():
    """As version 0.1.0 made them: a run must go on with its splits."""
    assert [fold.val for fold in make_folds(IDS, 0)] == [
        ("case_08", "case_09", "case_11"),
        ("case_00", "case_01", "case_02"),
        ("case_03", "case_07"),
        ("case_04", "case_06"),
        ("case_05", "case_10"),
    ]


def test_a_file_whose_folds_split_a_patient_is_refused(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["1_t1in", "2_t1in"], "val": ["1_t2spir"]}]))
    groups = {"1_t1in": "1", "1_t2spir": "1", "2_t1in": "2"}
    with pytest.raises(BadSplits, match=r"fold 0 trains on other scans of patients.*1_t2spir"):
        load_or_make_folds(path, list(groups), groups=groups)
    assert len(load_or_make_folds(path, list(groups))) == 1


# --- a dataset's own file ---------------------------------------------------------------------------------------------


def write_splits(folder, *folds):
    folder.mkdir(exist_ok=True)
    content = [{"train": list(train), "val": list(val)} for train, val in folds]
    (folder / "splits_final.json").write_text(json.dumps(content))


def test_a_datasets_own_folds_are_used_reported_and_copied_to_the_run(tmp_path, caplog):
    write_splits(tmp_path / "data", (["case_00", "case_01"], ["case_02"]))
    run = tmp_path / "run" / "splits_final.json"
    with caplog.at_level("INFO"):
        folds = load_or_make_folds(run, IDS[:4], dataset_folder=tmp_path / "data")
    assert folds == [Fold(("case_00", "case_01"), ("case_02",))]
    assert f"those of {tmp_path / 'data' / 'splits_final.json'}. It leaves out case_03." in caplog.text
    caplog.clear()
    assert load_or_make_folds(run, IDS[:4], dataset_folder=tmp_path / "data") == folds
    assert caplog.text == ""


@pytest.mark.parametrize("content", ['[{"train": ["case_00", "case_01"], "val": ["case_02"]}]', "{"])
def test_the_runs_own_folds_win_over_the_datasets_and_that_is_reported(tmp_path, caplog, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "splits_final.json").write_text(content)
    write_splits(tmp_path / "run", (["case_02"], ["case_01"]))
    with caplog.at_level("INFO"):
        folds = load_or_make_folds(tmp_path / "run" / "splits_final.json", IDS, dataset_folder=tmp_path / "data")
    assert folds == [Fold(("case_02",), ("case_01",))]
    assert "which differ from those of" in caplog.text


@pytest.mark.parametrize(
    ("folds", "words"),
    [((["case_00"], ["lost"]), "lost"), ((["case_00", "case_01"], ["case_01"]), "validates on: case_01")],
)
def test_a_datasets_own_folds_are_checked(tmp_path, folds, words):
    write_splits(tmp_path / "data", folds)
    with pytest.raises(BadSplits, match=words) as caught:
        load_or_make_folds(tmp_path / "splits_final.json", IDS, dataset_folder=tmp_path / "data")
    assert str(tmp_path / "data" / "splits_final.json") in str(caught.value)
    assert not (tmp_path / "splits_final.json").exists()


def test_scans_of_one_patient_in_a_datasets_own_folds(tmp_path):
    write_splits(tmp_path / "data", (["1_a"], ["1_b"]))
    with pytest.raises(BadSplits, match="other scans of patients"):
        load_or_make_folds(
            tmp_path / "splits_final.json", ["1_a", "1_b"], groups={"1_a": "1", "1_b": "1"},
            dataset_folder=tmp_path / "data",
        )  # fmt: skip
