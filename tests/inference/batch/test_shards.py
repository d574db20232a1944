"""Parts of a cohort: every case in exactly one, whoever counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed import errors
from sautomed.inference.batch.shards import Shard, cohort_of, is_run_file, run_file, shard_of_slurm, shard_of_text

counts = st.integers(1, 40)


@given(items=st.lists(st.integers()), count=counts)
def test_every_item_is_in_exactly_one_shard_and_shards_are_of_one_size(items, count):
    places = list(range(len(items)))
    parts = [Shard(number, count).part_of(places) for number in range(1, count + 1)]
    assert sorted(place for part in parts for place in part) == places
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


names = st.sets(st.text('a,"\n', max_size=3), max_size=4)


@given(names=names, others=names)
def test_lists_are_of_one_cohort_if_and_only_if_they_have_the_same_cases(names, others):
    assert cohort_of(sorted(names, reverse=True)) == cohort_of(names)
    assert (cohort_of(names) == cohort_of(others)) == (names == others)


@given(first=st.integers(0, 50), step=st.integers(1, 5), count=counts)
def test_the_tasks_of_an_array_have_the_shards_in_their_order(first, step, count):
    tasks = range(first, first + count * step, step)
    found = [
        shard_of_slurm(
            {
                "SLURM_ARRAY_TASK_ID": str(task),
                "SLURM_ARRAY_TASK_COUNT": str(count),
                "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_MAX": str(tasks[-1]),
                "SLURM_ARRAY_TASK_STEP": str(step),
            }
        )
        for task in tasks
    ]
    assert found == [Shard(number, count) for number in range(1, count + 1)]


@pytest.mark.parametrize("environment", [{}, {"SLURM_ARRAY_TASK_ID": "3"}, {"SLURM_ARRAY_TASK_COUNT": "3"}])
def test_outside_an_array_there_is_no_shard(environment):
    assert shard_of_slurm(environment) is None


def test_an_array_that_counts_from_0_needs_no_more_than_two_variables():
    assert shard_of_slurm({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}) == Shard(1, 4)


@pytest.mark.parametrize("task", [0, 1, 5])
def test_uneven_arrays_are_refused_by_each_of_their_tasks(task):
    array = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "5"}
    with pytest.raises(errors.UsageError, match=r"not evenly spaced.*--array=0-2"):
        shard_of_slurm({"SLURM_ARRAY_TASK_ID": str(task), **array})


@given(number=counts, more=st.integers(0, 40))
def test_a_shard_is_written_as_it_is_read(number, more):
    shard = Shard(number, number + more)
    assert shard_of_text(str(shard)) == shard


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1 / 4", "١/٤"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(errors.UsageError, match="is no shard"):
        shard_of_text(text)


def test_the_files_of_a_run_and_of_its_shards_have_names_of_their_own():
    assert run_file("summary") == "summary.json"
    assert run_file("failures", Shard(3, 10)) == "failures.shard-3-of-10.json"
    for name in ("summary.json", "failures.json", run_file("summary", Shard(3, 10))):
        assert is_run_file(name)
    for name in ("summary.nii.gz", "my_summary.json", "summary.shard-3.json", "summary.shard-a-of-b.json"):
        assert not is_run_file(name)
