"""A second rank for tests, as a program: reads ports to meet at, waits there for the first, and says what happens.

It ends when it is stopped, or has no more to read.

A program, since a process that `multiprocessing` starts could not import a test, however pytest was called.
"""

import signal
import sys

import torch

from sautomed.errors import RanksLost, Terminated
from sautomed.training.rank_group import joined
from sautomed.training.ranks import Ranks


def stop(*_: object) -> None:
    raise Terminated


def fail() -> None:
    raise AssertionError("the work is the first rank's")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    say("ready")
    for line in iter(sys.stdin.readline, ""):
        ranks = Ranks(devices=2, rank=1, local_rank=1, meeting=("127.0.0.1", int(line)))
        try:
            with joined(ranks, torch.device("cpu")) as group:
                say("waiting")
                group.first_alone(fail)
            say("done")
        except RanksLost:
            say("lost")
        except Terminated:
            say("stopped")
            return  # as a training does; the first may wait for an answer until the connection is closed


if __name__ == "__main__":
    main()
