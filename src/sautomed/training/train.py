"""The verb `train`: a data set in, a run with a model folder out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from sautomed.baselines import build_segmenter
from sautomed.errors import DamagedWeights, NothingToResume, TargetExists, TargetInUse
from sautomed.inference.device import choose_device
from sautomed.scans.files import full_disk_reported, require_writable
from sautomed.training.budget import Budget, now_s
from sautomed.training.checkpoint_files import damaged, newest_whole
from sautomed.training.fit import fit
from sautomed.training.learner import Learner
from sautomed.training.plan import NO_CALLBACKS, Callbacks, TrainingPlan
from sautomed.training.prepare import mean_boxes
from sautomed.training.prepared_fold import PreparedFold, prepare_fold
from sautomed.training.rank_group import RankGroup, joined, other_ranks
from sautomed.training.ranks import Ranks
from sautomed.training.write_model import scoring_passes, write_model

log = logging.getLogger(__name__)


def train(plan: TrainingPlan, callbacks: Callbacks = NO_CALLBACKS) -> Path:
    """Train one fold and return its model folder.

    With several ranks (`plan.ranks`), each of them calls this, or the first one starts the others, which then call it.
    All return when the first has scored and written the model: Slurm may end a job some time after its first task ends.

    Raises:
        DataError: The data set, its folds or a case cannot be used; ClassMissing if no training case shows a class.
        ModelError: The pretrained weights cannot be used, there is nothing to resume, or another rank ended.
        TargetExists: The fold was trained already and `resume` is not set.
        TargetInUse: Another process trains this fold now.
        UsageError: There is no such device, or a file cannot be written.
    """
    began = now_s(plan.clock)
    device = choose_device(plan.device)  # a wrong name is refused before any work
    with other_ranks(plan.ranks, partial(_train_as, plan)) as (ranks, others), joined(ranks, device, others) as group:
        return _train(replace(plan, ranks=ranks), callbacks if group.is_first else NO_CALLBACKS, group, began)


def _train_as(plan: TrainingPlan, ranks: Ranks) -> None:
    train(replace(plan, ranks=ranks))


def _train(plan: TrainingPlan, callbacks: Callbacks, group: RankGroup, began: float) -> Path:
    """Train as one of the ranks; `began` is the time of the command."""
    only_trainer = _only_trainer(plan.folder) if group.is_first else nullcontext()
    with full_disk_reported(plan.run), only_trainer:  # TensorBoard writes files of its own
        start, prepared = group.first_in_turn(lambda: (_find_start(plan), prepare_fold(plan, callbacks)))
        learner = _make_learner(plan, prepared, group)
        learner.budget.seconds = None if plan.max_minutes is None else plan.max_minutes * 60
        learner.budget.clock = plan.clock
        learner.budget.from_first = group.from_first if group.count > 1 else None
        learner.budget.spent_s = group.from_first(now_s(plan.clock) - began)  # it began before there was a learner
        if any(parameter.requires_grad for parameter in learner.model.parameters()):  # SAM as it is has none
            fit(learner, prepared, plan, callbacks, start)
        group.first_alone(partial(write_model, learner, prepared, plan, callbacks))
        return plan.folder / "model"


@contextmanager
def _only_trainer(folder: Path) -> Iterator[None]:
    """Hold the fold's folder for this process during the block; the system releases it if the process dies.

    Raises:
        TargetInUse: Another process trains there.
        UnwritableTarget: The folder cannot be written to.
    """
    require_writable(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "train.lock"
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows keeps open files
                    lock.unlink()
    except Timeout as error:
        raise TargetInUse(
            "is being trained by another process.", where=folder, cure="Wait until it ends, or give another -o."
        ) from error
    finally:
        with suppress(OSError):  # not empty: nothing was refused
            for place in made:
                place.rmdir()


def _find_start(plan: TrainingPlan) -> Path | None:
    """Return the checkpoint to resume from, None to begin; removes damaged checkpoints, with a warning."""
    folder = plan.last_checkpoint.parent
    start, spoilt = newest_whole(folder), damaged(folder)
    if start is None and plan.resume and spoilt:
        raise DamagedWeights(
            "is empty, cut short or damaged, and there is no other checkpoint to resume from.",
            where=spoilt[-1],
            cure="Train without --resume, which begins anew.",
        )
    if start is None and plan.resume:
        raise NothingToResume(
            "has no checkpoint to resume from.", where=plan.last_checkpoint, cure="Train without --resume."
        )
    if start is not None and not plan.resume:
        raise TargetExists(
            "holds a training already.",
            where=plan.folder,
            cure="Use --resume to continue it, or another -o to start anew.",
        )
    for path in spoilt:
        log.warning("%s: is empty, cut short or damaged, and is removed", path)
        path.unlink()
    if start not in (None, plan.last_checkpoint):
        log.warning("%s: the training goes on from this checkpoint, as last.ckpt is damaged or missing", start)
    return start


def _make_learner(plan: TrainingPlan, prepared: PreparedFold, group: RankGroup) -> Learner:
    torch.manual_seed(plan.seed)
    settings, classes = prepared.settings, len(prepared.dataset.labels)
    model = build_segmenter(settings.model, classes, int(settings.data.image_size))
    model.start_from_mean_boxes(lambda: mean_boxes(prepared.train, classes))
    if group.count > 1:  # dropout is drawn by each rank for itself
        torch.manual_seed(plan.seed + plan.ranks.rank)
    budget, data = Budget(settings.train.steps), settings.data
    final = len(prepared.val) * scoring_passes(choose_device(plan.device))
    return Learner(model, settings.train, budget, data.channels, settings.segment, plan.seed, final, group)
