"""Start a local Ray, or join a cluster; Ray is imported with the first use, and told to report to nobody."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from sautomed.cluster.signals import handlers_kept, kinds_kept
from sautomed.errors import NoCluster, PackageMissing

AUTO = "auto"
_ANSWER_S = 5.0  # ours: for the head of a cluster to accept a connection; Ray itself would try for minutes
_OBJECT_BYTES = 100 * 2**20  # ours: cases and results are small, and Ray would reserve a third of the memory
_NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0"}  # Ray's statistics of usage are on by default


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
        address: "auto" starts a Ray on this machine, which ends with the block and obeys nobody else; else HOST:PORT
            of the head of a cluster that this machine belongs to.
    Raises:
        PackageMissing: The extra [ray] is not installed.
        NoCluster: No cluster can be joined at the address.
    """
    require_ray()
    with _environment(_NO_REPORTS | (_of_local_ray() if address == AUTO else _of_cluster())):
        import ray  # reads these when it is imported

        if address != AUTO:
            _require_answer(address)
        try:
            with handlers_kept():
                ray.init(**_options(address))
        except (RuntimeError, ConnectionError, ValueError) as error:  # Ray's own for another version, or no cluster
            ray.shutdown()
            raise _refused(address, error) from error
        try:
            with kinds_kept():
                yield
        finally:
            ray.shutdown()


def _of_local_ray() -> dict[str, str]:
    """Return the variables of a Ray that nobody else can use, other users of this machine included.

    None if Ray has been imported: it then has read already that it uses no tokens.
    """
    if "ray" in sys.modules:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _of_cluster() -> dict[str, str]:
    """Return the variables with which Ray tries for 40 s, not 13 minutes, to join a head that is none."""
    name = "RAY_gcs_server_port_wait_time_s"
    return {name: os.environ.get(name, "1")}


def _options(address: str) -> dict[str, Any]:
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == AUTO:
        return {**options, "address": "local", "num_cpus": _cores(), "object_store_memory": _OBJECT_BYTES}
    return {**options, "address": address}


def _cores() -> int:
    """Return the cores that this process may use, which Slurm and others limit; Ray would count all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment during the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_answer(address: str) -> None:
    """Refuse an address at which nobody listens, within seconds."""
    import ray

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise NoCluster(
            f"'{address}' is not of the form HOST:PORT.",
            where="--ray",
            cure="Give auto for this machine, or the address that `ray start --head` printed, such as 10.0.0.1:6379.",
        )
    if host in ("localhost", "127.0.0.1", "::1"):  # as Ray does
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
