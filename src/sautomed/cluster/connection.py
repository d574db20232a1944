"""Start a local Ray, or join a cluster; Ray is imported with the first use, and told to report to nobody."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from sautomed.cluster.signals import handlers_kept, kinds_kept
from sautomed.errors import NoCluster, PackageMissing

AUTO = "auto"
_LOOPBACK = "127.0.0.1"
_ANSWER_S = 5.0  # ours: for the head of a cluster to accept a connection; Ray itself would try for minutes
_OBJECT_BYTES = 100 * 2**20  # ours: cases and results are small, and Ray would reserve a third of the memory


def require_ray() -> None:
    """Raise PackageMissing if the extra [ray] is not installed."""
    if find_spec("ray") is None:
        raise PackageMissing(
            "the package ray is not installed.", where="--ray", cure='Install it with: pip install "sautomed[ray]"'
        )


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to Ray during the block.

    Args:
        address: "auto" starts a Ray on this machine, which ends with the block and listens on loopback alone; else
            HOST:PORT of the head of a cluster that this machine belongs to.
    Raises:
        PackageMissing: The extra [ray] is not installed.
        NoCluster: No cluster can be joined at the address.
    """
    require_ray()
    _turn_off_reports()
    if address != AUTO:
        _require_answer(address)
    import ray

    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == AUTO:
        options |= {"address": "local", "_node_ip_address": _LOOPBACK, "object_store_memory": _OBJECT_BYTES}
    else:
        options |= {"address": address}
    try:
        with handlers_kept(), _one_attempt(address):
            ray.init(**options)
    except (RuntimeError, ConnectionError, ValueError) as error:  # Ray's own for another version, or no cluster
        ray.shutdown()
        raise _refused(address, error) from error
    try:
        with kinds_kept():
            yield
    finally:
        ray.shutdown()


def _turn_off_reports() -> None:
    """Turn off Ray's statistics of usage, which are on by default; Ray reads this when it is imported or started."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def _require_answer(address: str) -> None:
    """Refuse an address at which nobody listens, within seconds."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise NoCluster(
            f"'{address}' is not of the form HOST:PORT.",
            where="--ray",
            cure="Give auto for this machine, or the address that `ray start --head` printed, such as 10.0.0.1:6379.",
        )
    import ray

    if host in ("localhost", _LOOPBACK):  # as Ray does
        host = ray.util.get_node_ip_address()
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise NoCluster(
            f"nothing answers at {host}:{port} ({error}).",
            where="--ray",
            cure="Start a cluster with `ray start --head`, give the address that it prints, or give auto for this "
            "machine alone.",
        ) from error


def _refused(address: str, error: Exception) -> NoCluster:
    reason = " ".join(str(error).split())
    return NoCluster(
        f"Ray cannot be used at {address}: {reason}",
        where="--ray",
        cure="Use one version of Python, Ray and sautomed on all machines, join this machine with `ray start "
        "--address`, or give auto for this machine alone.",
    )


@contextmanager
def _one_attempt(address: str) -> Iterator[None]:
    """Let Ray try but once to reach a head that is none, for 40 s; by itself it tries for 13 minutes."""
    name = "RAY_gcs_server_port_wait_time_s"
    before = os.environ.get(name)
    if address != AUTO and before is None:
        os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
