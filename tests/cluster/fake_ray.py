"""Ray's functions in one process: a call is carried out when its result is asked for, and a worker can be lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from sautomed.cluster.case_worker import CaseResult, Ready
from sautomed.config.version import __version__


@dataclass(eq=False)
class Call:
    """What Ray calls a reference."""

    function: Any
    arguments: tuple[Any, ...]


class Method:
    def __init__(self, function):
        self.remote = lambda *arguments: Call(function, arguments)


class Worker:
    """A worker that reports itself and does every case; `lost_with` are calls at which its process dies."""

    death = ray.exceptions.RayActorError

    def __init__(self, lost_with=(), version=__version__, result=None, model=("hash", "PyTorch in float32")):
        self.done, self.version, self.result, self.lost_with, self.model = [], version, result, lost_with, model
        self.prepare, self.carry_out = Method(self._prepare), Method(self._carry_out)

    def _prepare(self):
        if "prepare" in self.lost_with:
            raise self.death
        return Ready({1: "bright"}, self.version, "elsewhere", self.model)

    def _carry_out(self, job, again):
        if job.case in self.lost_with:
            raise self.death
        self.done.append((job.case, again))
        return self.result or CaseResult("done")


def install(monkeypatch, slots=2):
    """Put the fakes in Ray's place; returns the workers that were killed."""
    killed = []
    monkeypatch.setattr(ray, "wait", lambda calls, **_: (calls[-1:], calls[:-1]))
    monkeypatch.setattr(ray, "get", lambda call: call.function(*call.arguments))
    monkeypatch.setattr(ray, "kill", killed.append)
    monkeypatch.setattr(ray, "cancel", lambda call: None)
    monkeypatch.setattr("sautomed.cluster.crew.slots", lambda share: slots)
    return killed
