"""Ranks find each other, or say within a time who did not come, and hear signals while they wait."""

import multiprocessing
import signal
import socket
from contextlib import closing

import pytest
import torch
from torch.distributed import PrefixStore, TCPStore

from sautomed.errors import RanksLost, Terminated
from sautomed.training import meeting
from sautomed.training.meeting import meet
from sautomed.training.rank_group import joined, other_ranks
from sautomed.training.ranks import Ranks


@pytest.fixture
def store():
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture
def no_time(monkeypatch):
    """Let ranks look once."""
    monkeypatch.setattr(meeting, "MEET_S", 0.0)


@pytest.fixture
def taken_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


def place(store, rank, count=3, **more):
    return Ranks(devices=count, rank=rank, local_rank=rank, meeting=("127.0.0.1", store.port), **more)


def come(store, name, *ranks):
    """Leave the signs of other ranks."""
    for rank in ranks:
        PrefixStore(name, store).set(f"here/{rank}", "")


def test_whoever_has_come_is_known_to_all(store, no_time):
    come(store, "sautomed", 0, 2)
    meet(place(store, 1))
    meet(place(store, 0))


def test_one_that_was_started_and_dies_before_it_comes_ends_the_meeting():
    with other_ranks(Ranks(devices=2), print) as (ranks, others):
        others[0].kill()
        with (
            pytest.raises(RanksLost, match=r"process 1 .* before it joined, with exit code -9.*--resume"),
            joined(ranks, torch.device("cpu"), others),
        ):
            pass
    assert multiprocessing.active_children() == []


def test_so_does_one_that_dies_after_it_came(store):
    with other_ranks(Ranks(devices=2), print) as (_, others):
        others[0].kill()
        others[0].join()
        come(store, "sautomed", 1)
        with pytest.raises(RanksLost, match="process 1"):
            meet(place(store, 0, count=2), others)


def test_one_that_does_not_come_in_time_is_named(store, no_time):
    come(store, "sautomed", 1)
    with pytest.raises(RanksLost, match="process 2 of the training did not come within"):
        meet(place(store, 0))


def meet_until_a_signal(ranks):
    """Meet, and raise Terminated when a signal comes, in a moment."""

    def stop(*_):
        raise Terminated

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        meet(ranks)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_the_waiting_for_others(store):
    with pytest.raises(Terminated):
        meet_until_a_signal(place(store, 0))


def test_so_does_it_where_there_is_no_store_yet(closed_port):
    with pytest.raises(Terminated):
        meet_until_a_signal(Ranks(devices=2, rank=1, meeting=("127.0.0.1", closed_port)))


@pytest.mark.parametrize("rank", [1, 2])
def test_the_store_of_another_job_is_not_ours(rank, store, no_time):
    come(store, "sautomed-100.1", 0, 1, 2)
    with pytest.raises(RanksLost, match=r"first process .* did not come.*another job.*export MASTER_PORT=N"):
        meet(place(store, rank, name="sautomed-101.0"))
    meet(place(store, rank, name="sautomed-100.1"))


def test_without_a_store_the_first_process_is_missing(closed_port, no_time):
    with pytest.raises(RanksLost, match=f"first process of the training did not open port {closed_port} of 127.0.0.1"):
        meet(Ranks(devices=2, rank=1, meeting=("127.0.0.1", closed_port)))


def test_a_port_that_another_program_holds_is_refused_at_once(taken_port):
    with pytest.raises(RanksLost, match=f"port {taken_port} of this machine cannot be opened.*MASTER_PORT"):
        meet(Ranks(devices=2, meeting=("127.0.0.1", taken_port), serves_store=True))


def test_several_ranks_need_a_place():
    with pytest.raises(ValueError, match="place to meet"):
        meet(Ranks(devices=2))
