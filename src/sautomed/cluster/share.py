"""What each worker takes of a machine, and how many workers fit on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sautomed.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Cluster:
    """Where the work goes.

    Attributes:
        address: "auto" or HOST:PORT; see `connection.connected`.
        cores: Processor cores of each worker.
        device: "auto" takes GPUs if the cluster has any; also "cpu" or "cuda".
    """

    address: str
    cores: int = 1
    device: str = "auto"


@dataclass(frozen=True)
class Share:
    """The cores and GPUs that a worker holds."""

    cores: int
    gpus: int

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def options(self) -> dict[str, int]:
        """Ray's options of a worker."""
        return {"num_cpus": self.cores, "num_gpus": self.gpus}

    def fitting(self, resources: Mapping[str, float]) -> int:
        """Return how many workers fit on a machine with these resources."""
        by_cores = int(resources.get("CPU", 0) // self.cores)
        return min(by_cores, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else by_cores

    def memory_gb(self, resources: Mapping[str, float]) -> float | None:
        """Return a worker's part of a machine's memory, in GB; None if Ray does not know it."""
        memory = resources.get("memory")
        return None if memory is None else memory / 1e9 / max(self.fitting(resources), 1)


def choose_share(cluster: Cluster) -> Share:
    """Return the share of each worker on the cluster that this process is connected to.

    Raises:
        UsageError: No machine of the cluster has so much.
    """
    if cluster.device not in DEVICES:
        raise UsageError(f"there is no device '{cluster.device}'.", where="--device", cure="Use auto, cpu or cuda.")
    machines = living_machines()
    has_gpu = any(resources.get("GPU", 0) >= 1 for resources in machines.values())
    share = Share(cluster.cores, int(cluster.device == "cuda" or (cluster.device == "auto" and has_gpu)))
    if slots(share):
        return share
    most = int(max((resources.get("CPU", 0) for resources in machines.values()), default=0))
    if share.gpus and not has_gpu:
        raise UsageError("no machine of the cluster has a GPU.", where="--device", cure="Use auto or cpu.")
    raise UsageError(
        f"no machine of the cluster has {cluster.cores} cores{' and a GPU' if share.gpus else ''}; the most are "
        f"{most}.",
        where="--ray-cores",
        cure=f"Give --ray-cores {max(most, 1)} or fewer, or leave it out.",
    )


def slots(share: Share) -> int:
    """Return how many workers fit on the machines that are alive."""
    return sum(share.fitting(resources) for resources in living_machines().values())


def living_machines() -> dict[str, dict[str, float]]:
    """Return the resources of every living machine of the cluster, by its id."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
