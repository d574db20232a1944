"""The verb `train`: a data set in, a run with a model folder out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from sautomed.training.write_model import scoring_passes, write_model

log = logging.getLogger(__name__)


def train(plan: TrainingPlan, callbacks: Callbacks = NO_CALLBACKS) -> Path:
    """Train one fold and return its model folder.

    Raises:
        DataError: The data set, its folds or a case cannot be used; ClassMissing if no training case shows a class.
        ModelError: The pretrained weights cannot be used, or there is nothing to resume.
        TargetExists: The fold was trained already and `resume` is not set.
        TargetInUse: Another process trains this fold now.
        UsageError: There is no such device, or a file cannot be written.
    """
    began = now_s(plan.clock)
    choose_device(plan.device)  # a wrong name is refused before any work
    with full_disk_reported(plan.run), _only_trainer(plan.folder):  # TensorBoard writes files of its own
        start = _find_start(plan)
        prepared = prepare_fold(plan, callbacks)
        learner = _make_learner(plan, prepared)
        learner.budget.seconds = None if plan.max_minutes is None else plan.max_minutes * 60
        learner.budget.clock = plan.clock
        learner.budget.spent_s = now_s(plan.clock) - began  # the clock began before there was a learner
        if any(parameter.requires_grad for parameter in learner.model.parameters()):  # SAM as it is has none
            fit(learner, prepared, plan, callbacks, start)
        return write_model(learner, prepared, plan, callbacks)


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


def _make_learner(plan: TrainingPlan, prepared: PreparedFold) -> Learner:
    torch.manual_seed(plan.seed)
    settings, classes = prepared.settings, len(prepared.dataset.labels)
    model = build_segmenter(settings.model, classes, int(settings.data.image_size))
    model.start_from_mean_boxes(lambda: mean_boxes(prepared.train, classes))
    final = len(prepared.val) * scoring_passes(choose_device(plan.device))
    budget = Budget(settings.train.steps)
    return Learner(model, settings.train, budget, settings.data.channels, settings.segment, plan.seed, final)
