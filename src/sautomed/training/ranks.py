"""The processes that train together, ranks: how many, which of them this is, and where they meet.

Slurm's `srun` and PyTorch's `torchrun` start all of them; else this process is the first and starts the others.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from sautomed.errors import TaskMismatch, UsageError
from sautomed.inference.device import choose_device

log = logging.getLogger(__name__)

FIRST_PORT, PORTS = 15_000, 10_000  # as Lightning's, which draws the port from the number of the job


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together.

    Attributes:
        devices: Ranks of a node, one for each of its devices.
        nodes: Machines.
        rank: From 0; the first one prepares, logs and writes.
        local_rank: Among those of its node.
        meeting: Address and port of the store at which ranks meet; None where the first rank starts the others.
        serves_store: Whether the first rank opens that store, which `torchrun` does itself.
        name: Of the training in that store, which may be another's if it took the same port.
    """

    devices: int = 1
    nodes: int = 1
    rank: int = 0
    local_rank: int = 0
    meeting: tuple[str, int] | None = None
    serves_store: bool = False
    name: str = "sautomed"

    @property
    def count(self) -> int:
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        return self.rank == 0


ALONE = Ranks()


def choose_ranks(
    devices: int | Literal["auto"], nodes: int, device: str, environment: Mapping[str, str] = os.environ
) -> Ranks:
    """Return the place of this process.

    Args:
        devices: Of each node; "auto" takes as many as Slurm or torchrun started processes on it, else each GPU, or one
            process on the CPU.
        device: As `choose_device` takes it.
        environment: Variables of Slurm or torchrun, if one of them started this process.
    Raises:
        TaskMismatch: Slurm or torchrun runs another number of processes, so that some would wait for ever.
        UsageError: There are not as many GPUs, or no such device.
    """
    on_gpu = choose_device(device).type == "cuda"
    launched = _by_torchrun(environment) or _by_slurm(environment)
    if devices == "auto":
        devices = launched.devices if launched else torch.cuda.device_count() if on_gpu else 1
    if launched is None and nodes > 1:
        raise TaskMismatch(
            "nothing starts the processes of the other nodes.",
            where="--nodes",
            cure="Put srun or torchrun in front of the command, as docs/cli.md shows, or leave out --nodes.",
        )
    if launched is not None and (launched.devices, launched.nodes) != (devices, nodes):
        raise TaskMismatch(
            f"--devices {devices} and --nodes {nodes} do not fit the {launched.devices} processes on each of "
            f"{launched.nodes} nodes that were started, so some would wait for others for ever.",
            where="--devices",
            cure=f"Use --devices {launched.devices} --nodes {launched.nodes}, or start {devices} on each of {nodes} "
            f"nodes (srun --nodes={nodes} --ntasks-per-node={devices}).",
        )
    if on_gpu:
        _require_gpus(devices)
        if launched is None and devices == 1 < torch.cuda.device_count():
            log.info("There are %d GPUs, and one is used; --devices auto trains on all.", torch.cuda.device_count())
    return launched or Ranks(devices)


def _require_gpus(devices: int) -> None:
    if devices > torch.cuda.device_count():
        raise UsageError(
            f"{devices} GPUs are asked for, but this process sees {torch.cuda.device_count()}.",
            where="--devices",
            cure=f"Use --devices {torch.cuda.device_count()}; under Slurm, give every task of a node all of the job's "
            "GPUs (--gpus-per-node, without --gpus-per-task).",
        )


def _by_torchrun(environment: Mapping[str, str]) -> Ranks | None:
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    devices, count = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
    return Ranks(
        devices,
        count // devices,
        int(environment["RANK"]),
        int(environment["LOCAL_RANK"]),
        (environment["MASTER_ADDR"], int(environment["MASTER_PORT"])),
        serves_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True",
    )


def _by_slurm(environment: Mapping[str, str]) -> Ranks | None:
    """Read the job step that `srun` started; None outside Slurm, and in a step of one task, which may start others."""
    nodes = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1)
    asked = environment.get("SLURM_NTASKS") or int(environment.get("SLURM_NTASKS_PER_NODE", 1)) * nodes
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or asked)
    if tasks == 1:
        return None
    if "SLURM_STEP_NUM_TASKS" not in environment:
        raise TaskMismatch(
            f"the Slurm job has {tasks} tasks, but this is started outside of them, so there is only one process.",
            where="--devices",
            cure=f"Put srun in front of the command, with --devices {tasks // nodes} --nodes {nodes}, or give the job "
            "one task (--ntasks=1).",
        )
    if tasks % nodes:
        raise TaskMismatch(
            f"Slurm runs {tasks} tasks on {nodes} nodes, but every node needs as many.",
            where="--devices",
            cure="Start them with srun --ntasks-per-node, in place of --ntasks.",
        )
    job, step = int(environment.get("SLURM_JOB_ID", 0)), int(environment.get("SLURM_STEP_ID", 0))
    names = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST", "127.0.0.1")
    address = environment.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(names)
    # Neighbouring jobs may share their first node, and each may be at another step
    port = int(environment.get("MASTER_PORT", FIRST_PORT + (job * 37 + step) % PORTS))
    rank, local_rank = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    name = f"sautomed-{job}.{step}"
    return Ranks(tasks // nodes, nodes, rank, local_rank, (address, port), serves_store=True, name=name)
