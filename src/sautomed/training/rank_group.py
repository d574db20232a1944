"""The ranks of a training as a group: one starts the others, all join, and they agree before they decide."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sautomed.errors import RanksLost, SautomedError
from sautomed.training.meeting import LOOK_S, lost, meet
from sautomed.training.ranks import ALONE, Ranks

log = logging.getLogger(__name__)
T = TypeVar("T")

LONG = timedelta(days=365)  # others wait for the first rank while it prepares, which may take hours
END_S = 60.0  # ours: within which the other ranks end by themselves, once the first has
# Parts of PyTorch's messages about other processes, for which it has no error type of its own
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "NCCL error")


class RankGroup:
    """The ranks of a training, as one of them sees them. All must call the same methods in the same order.

    Args:
        control: Process group on the CPU that waits as long as it takes; None for a single process.
    """

    def __init__(self, ranks: Ranks = ALONE, control: dist.ProcessGroup | None = None):
        self.ranks, self.count, self.is_first, self._control = ranks, ranks.count, ranks.is_first, control

    def from_first(self, value: T) -> T:
        """Return the first rank's value."""
        if self._control is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order."""
        if self._control is None:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self._control)
        return values

    def highest(self, number: int) -> int:
        """Return the highest of the ranks' numbers."""
        if self._control is None:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self._control)
        return int(found)

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means over the ranks, by name; names are the same on all of them."""
        if self._control is None:
            return values
        total = torch.stack([value.float() for value in values.values()])
        dist.all_reduce(total)
        return dict(zip(values, total / self.count, strict=True))

    def first_alone(self, work: Callable[[], object]) -> None:
        """Do something on the first rank, and wait on the others until it is done, as long as it takes.

        The others hear signals meanwhile, as they would not in a collective operation that blocks. If one of them ends,
        the first goes on.

        Raises:
            RanksLost: On the others, if the first failed in it or was stopped.
        """
        if self._control is None:
            work()
            return
        done = torch.zeros(1)
        if self.is_first:
            try:
                work()
                done += 1
            finally:
                with suppress(RuntimeError):  # another rank has ended meanwhile; this one is done all the same
                    dist.broadcast(done, src=0, group=self._control)
            return
        news = dist.broadcast(done, src=0, group=self._control, async_op=True)
        while not news.is_completed():
            time.sleep(LOOK_S)
        news.wait()
        if not done.item():
            raise lost("the first process of the training failed or was stopped after the last step.")

    def first_in_turn(self, work: Callable[[], T]) -> T:
        """Do something that writes files on the first rank, then on all others, which find what it wrote.

        Raises:
            RanksLost: Another rank failed in it, so this one cannot go on.
        """
        done: list[T] = []
        for is_turn in (self.is_first, not self.is_first):
            succeeded = False
            try:
                if is_turn:
                    done.append(work())
                succeeded = True
            finally:
                failed = [rank for rank, good in enumerate(self.gather(succeeded)) if not good]
            if failed:
                raise lost(f"process {failed[0]} of the training failed while it prepared.")
        return done[0]


@contextmanager
def other_ranks(ranks: Ranks, work: Callable[[Ranks], object]) -> Iterator[tuple[Ranks, Sequence[BaseProcess]]]:
    """Start the other ranks as processes of this machine, unless Slurm or torchrun did, and end them with the block.

    They write nothing, so they are killed if the block fails. If this process dies, they end too.

    Args:
        work: What each of them does; a function of a module, or a partial of one.
    Yields:
        The place of this process, and the processes that it started, in the order of their ranks.
    """
    if ranks.count == 1 or ranks.meeting is not None:
        yield ranks, ()
        return
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    here = replace(ranks, meeting=("127.0.0.1", store.port))
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_run_rank, args=(work, replace(here, rank=rank, local_rank=rank)), daemon=True)
        for rank in range(1, ranks.count)
    ]
    try:
        with _without_ctrl_c():
            for process in others:
                process.start()
        yield here, others
        for process in others:
            process.join(END_S)
    finally:
        for process in others:
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def joined(ranks: Ranks, device: torch.device, others: Sequence[BaseProcess] = ()) -> Iterator[RankGroup]:
    """Meet the other ranks for the block.

    Args:
        others: Ranks that this process has started.
    Raises:
        RanksLost: Another one ended, or did not come.
    """
    if ranks.count == 1:
        yield RankGroup()
        return
    try:
        if device.type == "cuda":
            torch.cuda.set_device(ranks.local_rank)  # before the meeting, as it may fail
        store = meet(ranks, others)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.count)
        yield RankGroup(ranks, dist.new_group(backend="gloo", timeout=LONG))
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(part in str(error) for part in _LOST):
            raise lost("another process of the training ended or does not answer.") from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _run_rank(work: Callable[[Ranks], object], ranks: Ranks) -> None:
    """Be one of the others: the first one logs, and tells of what happens to all."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        work(ranks)
    except KeyboardInterrupt:
        pass  # all have stopped
    except RanksLost as error:
        sys.exit(error.exit_code)  # whoever was lost says why
    except SautomedError as error:
        log.error("process %d: %s", ranks.rank, error)
        sys.exit(error.exit_code)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C, as what is started here will: a terminal sends it to all processes, and the first stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
