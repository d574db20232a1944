"""Where ranks meet before they are a group: each leaves a sign in a store and looks there for those of the others.

PyTorch's own meeting blocks for half an hour or longer, deaf to signals, if a rank never comes. Here a rank hears
signals while it waits, sees that a process it started has ended, and does not take another training's store for ours.
"""

import socket
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

import torch.distributed as dist

from sautomed.errors import RanksLost
from sautomed.training.ranks import FIRST_PORT, PORTS, Ranks

MEET_S = 600.0  # ours: srun may start tasks minutes apart, as where many import Python from one file server
LOOK_S = 0.2  # ours: between two looks
_ANSWER_S = 2.0  # ours: for the first rank's machine to answer


def meet(ranks: Ranks, others: Sequence[BaseProcess] = ()) -> dist.Store:
    """Return the store of this training, once every rank has come to it.

    Args:
        ranks: The place of this rank.
        others: Ranks that this process has started, on the same machine.
    Raises:
        RanksLost: One of `others` ended, some ranks did not come within `MEET_S`, or another program holds the port.
        ValueError: The ranks have no place to meet.
    """
    until_s = time.monotonic() + MEET_S
    store = dist.PrefixStore(ranks.name, _open_store(ranks, until_s))
    signs = [f"here/{rank}" for rank in range(ranks.count)]
    store.set(signs[ranks.rank], "")
    while True:
        _require_alive(others)  # before the signs: it may have left one and died
        if store.check(signs):
            return store
        if time.monotonic() > until_s:
            raise _too_late(ranks, [rank for rank, sign in enumerate(signs) if not store.check([sign])])
        time.sleep(LOOK_S)


def lost(fault: str) -> RanksLost:
    """Return the error of a rank that cannot go on without another one, which says why."""
    return RanksLost(
        f"{fault} Its message is above, unless it was killed, as for too much memory.",
        where="training",
        cure="Correct that; then give the command again, with --resume once there is a checkpoint.",
    )


def _open_store(ranks: Ranks, until_s: float) -> dist.Store:
    """Open the store, or connect to it as soon as the first rank or `torchrun` has opened it."""
    if ranks.meeting is None:
        raise ValueError("several ranks need a place to meet")
    address, port = ranks.meeting
    if ranks.serves_store and ranks.is_first:
        try:
            return dist.TCPStore(address, port, ranks.count, is_master=True, wait_for_workers=False)
        except dist.DistNetworkError as error:
            raise _port_taken(f"port {port} of this machine cannot be opened.", port) from error
    while not _answers(address, port):
        if time.monotonic() > until_s:
            raise lost(f"the first process of the training did not open port {port} of {address} {_within()}.")
        time.sleep(LOOK_S)
    return dist.TCPStore(address, port, ranks.count, is_master=False, wait_for_workers=False)


def _answers(address: str, port: int) -> bool:
    """Return whether anything listens at a port: PyTorch's store would try for minutes without hearing a signal."""
    try:
        socket.create_connection((address, port), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _require_alive(others: Sequence[BaseProcess]) -> None:
    for rank, process in enumerate(others, start=1):
        if process.exitcode is not None:
            raise lost(f"process {rank} of the training ended before it joined, with exit code {process.exitcode}.")


def _too_late(ranks: Ranks, missing: list[int]) -> RanksLost:
    if 0 in missing and ranks.meeting is not None:
        address, port = ranks.meeting
        return _port_taken(f"the first process of the training did not come to port {port} of {address}.", port)
    return lost(f"process {missing[0]} of the training did not come {_within()}.")


def _port_taken(fault: str, port: int) -> RanksLost:
    return RanksLost(
        f"{fault} Another program may hold that port, such as a training of another job.",
        where="training",
        cure=f"Put `export MASTER_PORT=N` before srun, with another N than {port} from {FIRST_PORT} to "
        f"{FIRST_PORT + PORTS - 1} (for torchrun: --master-port N); then give the command again.",
    )


def _within() -> str:
    return f"within {MEET_S / 60:.0f} minutes"
