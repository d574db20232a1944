"""The place of a process among those that train together, as Slurm and torchrun tell it, and what cannot work."""

import pytest
import torch

from sautomed.errors import TaskMismatch, UsageError
from sautomed.training.ranks import ALONE, Ranks, choose_ranks

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}


def slurm(tasks, nodes=1, in_step=True, **more):
    """Return Slurm's variables for the last task of a job, in a step of `srun` or in its batch script."""
    job = {"SLURM_JOB_ID": "123456", "SLURM_NTASKS": str(tasks), "SLURM_NNODES": str(nodes), "SLURM_NODELIST": "n[3-7]"}
    step = {
        "SLURM_STEP_ID": "2",
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_PROCID": str(tasks - 1),
        "SLURM_LOCALID": str(tasks // nodes - 1),
    }
    return {**job, **(step if in_step else {}), **more}


def choose(environment, devices=1, nodes=1):
    return choose_ranks(devices, nodes, "cpu", environment)


def test_a_process_that_nothing_started_is_alone_or_starts_others():
    assert choose({}) == ALONE
    assert choose({}, devices="auto") == ALONE  # one process uses all processors
    assert choose({}, devices=3) == Ranks(devices=3)
    assert ALONE.count == 1
    assert ALONE.is_first


def test_auto_is_every_gpu_and_others_than_the_first_are_pointed_out(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_ranks("auto", 1, "cuda", {}) == Ranks(devices=4)
    assert caplog.text == ""
    assert choose_ranks(1, 1, "cuda", {}) == ALONE
    assert "There are 4 GPUs, and one is used; --devices auto" in caplog.text
    with pytest.raises(UsageError, match=r"5 GPUs are asked for.* sees 4.*--devices 4"):
        choose_ranks(5, 1, "cuda", {})


@pytest.mark.parametrize("devices", [4, "auto"])
def test_slurm_says_which_of_the_tasks_this_is(devices):
    ranks = choose(slurm(8, nodes=2), devices, nodes=2)
    meeting, name = ("n3", 15_000 + 7874), "sautomed-123456.2"
    assert ranks == Ranks(4, 2, rank=7, local_rank=3, meeting=meeting, serves_store=True, name=name)
    assert ranks.count == 8
    assert not ranks.is_first
    elsewhere = choose(slurm(8, nodes=2, MASTER_ADDR="head", MASTER_PORT="1234"), devices, nodes=2)
    assert elsewhere.meeting == ("head", 1234)


def test_no_two_steps_of_neighbouring_jobs_of_slurm_meet_at_one_port_or_under_one_name():
    places = [(job, step) for job in range(100, 110) for step in range(9)]
    steps = [choose(slurm(2, SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step)), 2) for job, step in places]
    assert len({ranks.meeting for ranks in steps}) == len({ranks.name for ranks in steps}) == len(steps)
    assert all(15_000 <= ranks.meeting[1] < 25_000 for ranks in steps)


@pytest.mark.parametrize("devices", [4, "auto"])
def test_torchrun_says_which_of_the_processes_this_is(devices):
    assert choose(TORCHRUN, devices, nodes=2) == Ranks(4, 2, rank=5, local_rank=1, meeting=("node1", 29_500))
    assert choose({**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "False"}, devices, nodes=2).serves_store


def test_one_task_of_slurm_starts_the_others_itself():
    assert choose(slurm(1), devices=2) == Ranks(devices=2)


@pytest.mark.parametrize(
    ("environment", "devices", "nodes"),
    [
        (slurm(4), 1, 1),  # --ntasks=4 without --devices
        (slurm(2), 4, 1),
        (slurm(8, nodes=2), 8, 1),
        (slurm(8, nodes=2), 4, 1),
        (slurm(8, nodes=2), "auto", 1),
        (TORCHRUN, 1, 1),
        (TORCHRUN, 8, 1),
    ],
)
def test_other_numbers_than_those_that_were_started_are_refused(environment, devices, nodes):
    with pytest.raises(TaskMismatch, match=r"do not fit the \d processes.*Use --devices \d --nodes \d, or start"):
        choose(environment, devices, nodes)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize(
    "environment",
    [slurm(4, in_step=False), {"SLURM_JOB_ID": "1", "SLURM_NTASKS_PER_NODE": "4"}],
)
def test_a_job_of_several_tasks_without_srun_is_refused(environment, devices):
    with pytest.raises(TaskMismatch, match=r"outside of them.*Put srun in front.* --devices 4 --nodes 1"):
        choose(environment, devices)


def test_unequal_numbers_of_tasks_are_refused():
    with pytest.raises(TaskMismatch, match="3 tasks on 2 nodes"):
        choose(slurm(3, nodes=2), 2, 2)


def test_several_nodes_need_something_that_starts_them():
    with pytest.raises(TaskMismatch, match="srun or torchrun"):
        choose({}, nodes=2)
