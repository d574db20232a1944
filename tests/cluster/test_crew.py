"""Workers with one case at a time, some of which are lost."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed import errors
from sautomed.cluster.crew import TRIES, Crew
from sautomed.cluster.share import Share
from sautomed.inference.batch import Failure, Job

from .fake_ray import Worker, install

ray = pytest.importorskip("ray")
JOBS = [Job(f"case {number}", Path(f"{number}.nii.gz"), ()) for number in range(5)]


@pytest.fixture
def work(monkeypatch):
    """Let a crew of these workers do the jobs; returns its results by case, and the workers that were ended."""

    def work_with(*workers, slots=2, on_ready=lambda ready: None):
        killed, waiting = install(monkeypatch, slots), iter(workers)
        crew = Crew(lambda: next(waiting), Share(1, 0), on_ready)
        return [(job.case, result.end) for job, result in crew.results(JOBS)], killed

    return work_with


def test_every_case_is_done_once_and_the_workers_are_ended(work):
    workers, ready = [Worker(), Worker()], []
    results, killed = work(*workers, on_ready=ready.append)
    assert sorted(results) == [(job.case, "done") for job in JOBS]
    assert sorted(case for worker in workers for case in worker.done) == [(job.case, False) for job in JOBS]
    assert [report.labels for report in ready] == [{1: "bright"}] * 2
    assert Counter(map(id, killed)) == Counter(map(id, workers))


def test_no_more_workers_start_than_there_are_cases(work):
    results, killed = work(*[Worker() for _ in JOBS], slots=100)
    assert len(results) == len(killed) == len(JOBS)


@pytest.mark.parametrize(
    "death", [ray.exceptions.RayActorError(), ray.exceptions.OutOfMemoryError("too much")], ids=["gone", "memory"]
)
def test_the_case_of_a_lost_worker_goes_to_another_which_is_told(work, death):
    lost, *others = Worker({"case 3"}), Worker(), Worker()
    lost.death = death
    results, killed = work(lost, *others)
    assert sorted(results) == [(job.case, "done") for job in JOBS]
    assert [again for worker in others for case, again in worker.done if case == "case 3"] == [True]
    assert lost in killed


def test_idle_workers_that_are_lost_with_another_cost_its_case_no_tries(work):
    """As at the end of a run, when a machine dies on which one worker has a case and the others none."""
    is_lost = []

    class OnMachine(Worker):
        def _carry_out(self, job, again):
            if job.case == "case 0":  # the last to end
                is_lost.append(True)
            if is_lost:
                raise self.death
            return super()._carry_out(job, again)

    gone, fresh = [OnMachine() for _ in JOBS], Worker()
    results, killed = work(*gone, fresh, slots=len(JOBS))
    assert sorted(results) == [(job.case, "done") for job in JOBS]
    assert fresh.done == [("case 0", True)]
    assert set(killed) == {*gone, fresh}


def test_a_case_that_kills_every_worker_is_given_up_and_the_others_are_done(work):
    workers = [Worker({"case 1"}) for _ in range(TRIES + 2)]
    ends = dict(work(*workers)[0])
    assert len(ends) == len(JOBS)
    failure = ends.pop("case 1")
    assert set(ends.values()) == {"done"}
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, errors.WorkerLost)
    assert f"{TRIES} processes" in str(failure.error)


def test_a_worker_that_dies_while_it_starts_is_replaced(work):
    assert len(work(Worker({"prepare"}), Worker(), Worker())[0]) == len(JOBS)


def test_workers_that_always_die_while_they_start_end_the_run(work):
    with pytest.raises(errors.NoCluster, match="die while they start"):
        work(*[Worker({"prepare"}) for _ in range(100)])


def test_a_worker_of_another_version_ends_the_run(work):
    with pytest.raises(errors.NoCluster, match=r"0\.0\.0 on elsewhere"):
        work(Worker(version="0.0.0"), Worker())


def test_an_error_that_ends_a_plain_run_ends_this_one(work):
    fault = errors.TrunkChanged("is another trunk.", where="weights", cure="Give --weights.")
    with pytest.raises(errors.TrunkChanged, match="another trunk"):
        work(Worker(result=fault), Worker(result=fault))


@given(st.lists(st.sets(st.sampled_from([job.case for job in JOBS])), max_size=8), st.integers(1, 4))
def test_whatever_is_lost_every_case_has_one_end(lost, slots):
    with pytest.MonkeyPatch.context() as patched:
        install(patched, slots)
        waiting = iter([*map(Worker, lost), *[Worker() for _ in range(50)]])
        crew = Crew(lambda: next(waiting), Share(1, 0), lambda _: None)
        ends = Counter(job.case for job, _ in crew.results(JOBS))
    assert ends == Counter(job.case for job in JOBS)
