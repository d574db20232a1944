"""The process that holds a model and segments cases, one after the other; on each machine as many as fit."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sautomed.cluster.share import Share, living_machines
from sautomed.cluster.shared_folder import enter, require_shared
from sautomed.config.version import __version__
from sautomed.errors import SautomedError
from sautomed.inference.batch import Failure, Job, Plan
from sautomed.inference.batch.one_case import CaseEnd, CaseRunner


@dataclass(frozen=True)
class ModelChoice:
    """The model that every worker loads, and how it is computed; as `sautomed.load` takes them.

    Attributes:
        path: A folder, or the name of a model that comes with the package.
        weights: Place of the pretrained trunk, if it has moved since the training.
    """

    path: Path
    weights: str | None = None
    precision: str = "auto"
    engine: str = "torch"


@dataclass(frozen=True)
class Order:
    """What a worker is started with.

    Attributes:
        plan: Without its jobs, which come one by one.
        share: What the worker holds of its machine.
        folder: Working folder of the command, from which relative paths count.
        probe: A file in the outputs' folder that every machine must see; None if they go to a remote store.
        level: Level of our logger.
    """

    plan: Plan
    model: ModelChoice
    share: Share
    folder: Path
    probe: Path | None
    level: int


@dataclass(frozen=True)
class Ready:
    """What a worker reports once it has loaded the model.

    Attributes:
        model: Hash of the model, with engine and precision; None of a model in no folder.
    """

    labels: dict[int, str]
    version: str
    machine: str
    model: tuple[str | None, str]


@dataclass(frozen=True)
class CaseResult:
    """How a case ended.

    Attributes:
        notes: Lines of the worker's log.
        is_reported: Whether its CASE.json says so.
    """

    end: CaseEnd | Failure
    notes: tuple[tuple[int, str], ...] = ()
    is_reported: bool = True


class CaseWorker:
    """Segments cases with the model that it holds; Ray calls its methods one after the other.

    Our errors are returned, not raised: Ray would wrap them.
    """

    def __init__(self, order: Order):
        self.order = order

    def prepare(self) -> Ready | SautomedError:
        """Load the model."""
        import torch

        from sautomed.inference.model import load

        order = self.order
        enter(order.folder)
        torch.set_num_threads(order.share.cores)
        logging.getLogger("sautomed").setLevel(order.level)
        try:
            if order.probe is not None:
                require_shared(order.probe)
            chosen = order.model
            model = load(chosen.path, order.share.device, chosen.weights, chosen.precision, chosen.engine)
        except SautomedError as error:
            return error
        self._model, self._plan = model, _within_share(order.plan, order.share)
        self._runner = CaseRunner(model, self._plan)
        return Ready(dict(model.labels), __version__, platform.node(), (model.sha256, str(model.computing)))

    def carry_out(self, job: Job, again: bool) -> CaseResult | SautomedError | None:
        """Segment a case; None if the command was stopped meanwhile.

        Args:
            again: Whether an earlier worker was lost with this case; then it is skipped if it is whole.
        """
        runner = self._runner
        if again and not self._plan.options.overwrite:
            runner = CaseRunner(self._model, _resuming(self._plan))
        with _noted() as notes:
            try:
                end = runner.carry_out(job, _end_if_stopped)
            except _StoppedError:
                return None
            except SautomedError as error:  # of the model, or a target: it ends the run, as without Ray
                return error
        if end == "skipped" and again:
            end = "done"  # by the worker that was lost
        return CaseResult(end, tuple(notes))


class _StoppedError(Exception):
    """The command was stopped."""


def _within_share(plan: Plan, share: Share) -> Plan:
    """Return the plan with this worker's part of the machine's memory as its limit, unless it has one."""
    import ray

    if plan.options.max_ram_gb is not None:
        return plan
    resources = living_machines().get(ray.get_runtime_context().get_node_id(), {})
    return replace(plan, options=replace(plan.options, max_ram_gb=share.memory_gb(resources)))


def _resuming(plan: Plan) -> Plan:
    return replace(plan, options=replace(plan.options, resume=True))


def _end_if_stopped(job: Job, done: int, total: int) -> None:
    import ray

    if ray.get_runtime_context().is_canceled():
        raise _StoppedError


@contextmanager
def _noted() -> Iterator[list[tuple[int, str]]]:
    """Collect the lines that are logged during the block, with their levels."""
    handler, logger = _Notes(), logging.getLogger("sautomed")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


class _Notes(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))
