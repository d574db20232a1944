"""The training loop: Lightning with our examples, checkpoints, log and clean stop."""

import logging
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from sautomed.config import TrainSettings
from sautomed.inference.device import choose_device
from sautomed.training.checkpoints import AtomicCheckpointIO
from sautomed.training.learner import Learner
from sautomed.training.lightning_ranks import CpuBatchNorms, RankEnvironment, strategy_of
from sautomed.training.log import CurveLog
from sautomed.training.plan import Callbacks, TrainingPlan
from sautomed.training.prepared_fold import PreparedFold
from sautomed.training.slice_runs import CaseList, SliceRunDataset, StreamSampler, collate
from sautomed.training.stopping import StopOnSignal


def fit(
    learner: Learner, prepared: PreparedFold, plan: TrainingPlan, callbacks: Callbacks, start: Path | None = None
) -> None:
    """Train with Lightning until the budget is spent, and load the best checkpoint, or the last without validation.

    Of several ranks, all of which call this, only the first one writes, and loads the checkpoint.

    Args:
        start: Checkpoint to resume from.
    Raises:
        KeyboardInterrupt: Ctrl-C, or Terminated for other signals, after a checkpoint is written.
        TrainingDiverged: The loss became infinite or nan.
        UnwritableTarget: A checkpoint or the log cannot be written; the checkpoint before stays.
    """
    folder, model, group = plan.folder, learner.model, learner.group
    settings = prepared.settings.train.model_copy(update={"batch": prepared.step_batch})
    share = settings.batch // group.count
    place = (plan.ranks.rank, group.count)
    stack = None if model.run_slices is None else (model.run_slices, model.overhang)
    channels = prepared.settings.data.channels
    examples = SliceRunDataset(prepared.train, settings, channels, plan.seed, stack, learner.budget.progress)
    sampler = StreamSampler(settings.validate_every, share, *place)
    loader = DataLoader(examples, share, sampler=sampler, collate_fn=collate)
    watched = prepared.val[: settings.validation_cases]
    val = DataLoader(CaseList(watched, *place), batch_size=None) if watched else None
    stop = StopOnSignal(plan.last_checkpoint, settings.validate_every, group)
    learner.on_step_done = stop.on_step_done
    listeners = [_FollowSteps(sampler), *_checkpoint_callbacks(folder / "checkpoints", bool(watched)), stop]
    if group.is_first:
        listeners.insert(-1, CurveLog(folder, callbacks.on_step))
    steps = settings.steps if learner.budget.seconds is None else -1
    trainer = _make_trainer(plan, settings, steps, listeners, bool(watched))
    try:
        trainer.fit(learner, loader, val, ckpt_path=start, weights_only=True)
        stop.raise_received()
    except SystemExit as ended:  # raised by Lightning for KeyboardInterrupt, once it has cleaned up
        stop.raise_received()
        raise (ended.__context__ or KeyboardInterrupt()) from None
    finally:
        stop.restore()
    learner.budget.end()
    if group.is_first:
        _load_best(learner, plan)


def _load_best(learner: Learner, plan: TrainingPlan) -> None:
    chosen = plan.last_checkpoint.with_name("best.ckpt")
    if not chosen.is_file():  # no validation, or none since a damaged one was removed
        chosen = plan.last_checkpoint
    best = AtomicCheckpointIO().load_checkpoint(chosen)
    learner.load_state_dict(best["state_dict"])


def _make_trainer(
    plan: TrainingPlan, settings: TrainSettings, steps: int, listeners: list[lightning.Callback], validating: bool
) -> lightning.Trainer:
    timed, ranks = steps == -1, plan.ranks
    on_gpu, several = choose_device(plan.device).type == "cuda", ranks.count > 1
    norms = [CpuBatchNorms()] if several and not on_gpu else []
    for name in ("lightning.pytorch", "lightning.fabric"):  # its advice is for authors of a loop
        logging.getLogger(name).setLevel(logging.ERROR)
    return lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=ranks.devices,
        num_nodes=ranks.nodes,
        strategy=strategy_of(ranks),
        sync_batchnorm=several and on_gpu,
        use_distributed_sampler=False,  # ours knows the ranks
        precision=settings.precision,
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=settings.clip_norm,
        num_sanity_val_steps=1 if validating and timed else 0,  # times a case, so that the budget can be kept
        limit_val_batches=1.0 if validating else 0,
        logger=TensorBoardLogger(plan.folder, name="", version="tensorboard") if ranks.is_first else False,
        callbacks=listeners,
        plugins=[AtomicCheckpointIO(), RankEnvironment(ranks), *norms],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


class _FollowSteps(lightning.Callback):
    """Sets the sampler by the number of steps done: Lightning's count of epochs gains one with every resumption."""

    def __init__(self, sampler: StreamSampler):
        self.sampler = sampler

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Lightning starts no new epoch where it resumes inside one."""
        self.sampler.step = trainer.global_step

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.sampler.step = trainer.global_step


def _checkpoint_callbacks(folder: Path, watched: bool) -> list[ModelCheckpoint]:
    """Return callbacks that keep the best checkpoint, if there is validation, and the last.

    Two, because one with `save_last` writes the last only when it is the best as well. The last comes second, so that
    it knows which was the best.
    """
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    if not watched:
        return [last]
    return [_BestCheckpoint(folder, filename="best", monitor="val_dsc", mode="max", enable_version_counter=False), last]


class _BestCheckpoint(ModelCheckpoint):
    """Keeps the best score while its checkpoint is in the folder, which may have been moved since it was written.

    If it is gone, the next validation writes one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score, with the checkpoint's present path: Lightning drops both when the folder has moved."""
        path = str(Path(self.dirpath) / "best.ckpt")
        if not state_dict["best_model_path"] or not Path(path).is_file():
            return
        scores = {path: state_dict["best_model_score"]}
        here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path, "best_k_models": scores}
        super().load_state_dict({**state_dict, **here})
