"""The verb `train`: a data set in, a run with a model folder out."""

import logging
import platform
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from sautomed.baselines import build_segmenter
from sautomed.config import Settings, TrainSettings, parse_settings
from sautomed.datasets import Case, Dataset, read_dataset
from sautomed.datasets.folds import Fold, load_or_make_folds, select_fold
from sautomed.datasets.rules import NO_RULES, LabelRules, unknown_labels, with_rules
from sautomed.errors import NothingToResume, TargetExists, UnknownLabels
from sautomed.evaluation import dice
from sautomed.inference.bundle import Bundle, save_bundle
from sautomed.inference.model_card import write_model_card
from sautomed.inference.segmenting import choose_device, segment_volume
from sautomed.model.sautomed import SAutoMed
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import write_json
from sautomed.scans.paths import read_json
from sautomed.training import Budget, Clock, Learner, now_s
from sautomed.training.classes import require_classes
from sautomed.training.log import CurveLog, RunningStep
from sautomed.training.prepare import PreparedCase, mean_boxes, prepare, resolve_data
from sautomed.training.runs import CaseList, RunDataset, StreamSampler, collate

OnStep = Callable[[RunningStep], None]


@dataclass(frozen=True)
class TrainingPlan:
    """What `train` is asked for.

    Attributes:
        run: Folder of the run; a fold writes `run/fold_K`.
        layout: Of the data set, a key of `DATASETS`.
        rules: What to do with label values and grids that do not fit.
        train_cases: Train on so many of the fold's cases, drawn by the seed; fewer draw a part of what more draw.
        max_minutes: Wall clock from the command to the finished model, earlier parts of a resumed training counted in;
            the schedule is fitted to it.
        prepared: Folder for the prepared slices, which trainings of one data set may share, also at one time; by
            default within the run.
        score: Whether to segment and score the fold's validation cases at the end, on their native grids. Whoever does
            that itself says no; the time that a budget keeps for it stays kept, so that the training is the same.
    """

    dataset: Path
    run: Path
    settings: Settings
    fold: int | Literal["all"] = 0
    seed: int = 0
    max_minutes: float | None = None
    resume: bool = False
    device: str = "auto"
    layout: str = "auto"
    rules: LabelRules = NO_RULES
    train_cases: int | None = None
    prepared: Path | None = None
    clock: Clock = "wall"
    score: bool = True


@dataclass(frozen=True)
class Callbacks:
    """Who wants to hear of the progress."""

    on_case: Callable[[int, int, str], None] | None = None
    on_step: OnStep | None = None


@dataclass(frozen=True)
class Materials:
    """A fold ready to be trained on."""

    dataset: Dataset
    fold: Fold
    settings: Settings
    train: list[PreparedCase]
    val: list[PreparedCase]


def train(plan: TrainingPlan, callbacks: Callbacks | None = None) -> Path:
    """Train one fold and return its model folder.

    Raises:
        DataError: The data set, its folds or a case cannot be used; ClassMissing if no training case shows a class.
        ModelError: The pretrained weights cannot be used, or there is nothing to resume.
        TargetExists: The fold was trained already and `resume` is not set.
        UsageError: There is no such device.
    """
    began = now_s(plan.clock)
    callbacks = callbacks or Callbacks()
    folder = plan.run / f"fold_{plan.fold}"
    last = folder / "checkpoints" / "last.ckpt"
    _check_target(folder, last, plan.resume)
    choose_device(plan.device)  # a wrong name is told before any work
    materials = gather(plan, callbacks)
    learner = _make_learner(plan, materials)
    learner.budget.seconds = None if plan.max_minutes is None else plan.max_minutes * 60
    learner.budget.clock = plan.clock
    learner.budget.spent_s = now_s(plan.clock) - began
    if any(parameter.requires_grad for parameter in learner.model.parameters()):
        learner = _fit(learner, materials, plan, folder, last if plan.resume else None, callbacks)
    return _finish(learner, materials, plan, folder)


def gather(plan: TrainingPlan, callbacks: Callbacks) -> Materials:
    """Data set, folds, resolved settings (written down, or held against those of the run) and prepared slices."""
    dataset = with_rules(read_dataset(plan.dataset, plan.layout), plan.rules)
    ids = [case.id for case in dataset.cases]
    folds = load_or_make_folds(plan.run / "splits_final.json", ids, plan.seed, groups=dataset.groups)
    fold = fewer_cases(select_fold(folds, plan.fold), plan.train_cases, plan.seed)
    settings = plan.settings.model_copy(update={"data": resolve_data(dataset, plan.settings.data)})
    _write_or_check(plan, settings, fold)
    wanted = [case for case in dataset.cases if case.id in {*fold.train, *fold.val}]
    prepared = _prepare(plan, dataset, wanted, settings, callbacks)
    materials = Materials(dataset, fold, settings, [prepared[i] for i in fold.train], [prepared[i] for i in fold.val])
    require_classes(materials.train, materials.val, dataset.labels, str(plan.fold))
    return materials


def fewer_cases(fold: Fold, cases: int | None, seed: int) -> Fold:
    """The fold with so many of its training cases, drawn by the seed; fewer are a part of more. None takes all."""
    if cases is None or cases >= len(fold.train):
        return fold
    drawn = np.random.default_rng(seed).permutation(len(fold.train))[:cases]
    return Fold(train=tuple(fold.train[i] for i in sorted(drawn)), val=fold.val)


def _prepare(
    plan: TrainingPlan, dataset: Dataset, wanted: Sequence[Case], settings: Settings, callbacks: Callbacks
) -> dict[str, PreparedCase]:
    """The prepared cases by id. Unknown label values are told for all cases at once, not for the first alone."""
    folder = plan.prepared or plan.run / "prepared"
    folder = folder / plan.rules.key if plan.rules else folder
    try:
        return {case.id: case for case in prepare(dataset, wanted, settings.data, folder, callbacks.on_case)}
    except UnknownLabels as fault:
        raise unknown_labels(dataset, wanted) or fault from fault


def run_settings(run: Path, fold: int | Literal["all"]) -> Settings:
    """The settings that a fold of a run was trained with; raises NothingToResume where there are none."""
    path = run / f"fold_{fold}" / "config.json"
    return parse_settings(read_json(path, NothingToResume), where=str(path))


def _write_or_check(plan: TrainingPlan, settings: Settings, fold: Fold) -> None:
    """What decides the examples and the weights; a resumed training must have the same, but for its length."""
    folder = plan.run / f"fold_{plan.fold}"
    splits: dict[str, Any] = {"seed": plan.seed, "train": list(fold.train), "val": list(fold.val)}
    if plan.rules:
        splits["rules"] = plan.rules.as_dict()
    if plan.resume:
        before = run_settings(plan.run, plan.fold)
        length = {"train": before.train.model_copy(update={"steps": settings.train.steps})}
        if before.model_copy(update=length) != settings or read_json(folder / "splits.json", NothingToResume) != splits:
            raise NothingToResume(
                "was trained with other settings, cases, label rules or seed, so it cannot go on with these.",
                where=folder,
                cure="Resume with the same -d, --seed, --map and --ignore, no -c or --set; or train anew elsewhere.",
            )
    write_json(folder / "config.json", settings.model_dump(mode="json"))
    write_json(folder / "splits.json", splits)


def _check_target(folder: Path, last: Path, resume: bool) -> None:
    if resume and not last.exists():
        raise NothingToResume("has no checkpoint to resume from.", where=last, cure="Train without --resume.")
    if not resume and last.exists():
        raise TargetExists(
            "holds a training already.", where=folder, cure="Use --resume to continue it, or another -o to start anew."
        )


def _make_learner(plan: TrainingPlan, materials: Materials) -> Learner:
    torch.manual_seed(plan.seed)
    settings, classes = materials.settings, len(materials.dataset.labels)
    model = build_segmenter(settings.model, classes, int(settings.data.image_size))
    if isinstance(model, SAutoMed) and model.generator is not None:
        model.generator.set_default_boxes(mean_boxes(materials.train, classes))
    budget = Budget(settings.train.steps)
    return Learner(
        model, settings.train, budget, settings.data.channels, settings.segment, plan.seed, len(materials.val)
    )


def _fit(
    learner: Learner,
    materials: Materials,
    plan: TrainingPlan,
    folder: Path,
    checkpoint: Path | None,
    callbacks: Callbacks,
) -> Learner:
    settings = materials.settings.train
    model = learner.model
    stack = None if model.run_slices is None else (model.run_slices, model.overhang)
    examples = RunDataset(materials.train, settings, materials.settings.data.channels, plan.seed, stack)
    sampler = StreamSampler(settings.batch * settings.validate_every)
    loader = DataLoader(examples, settings.batch, sampler=sampler, collate_fn=collate)
    watched = materials.val[: settings.validation_cases]
    val = DataLoader(CaseList(watched), batch_size=None) if watched else None
    listeners = [_FollowSteps(sampler, settings.batch), *_keepers(folder / "checkpoints", bool(watched)),
                 CurveLog(folder, callbacks.on_step)]  # fmt: skip
    steps = settings.steps if learner.budget.seconds is None else -1
    trainer = _make_trainer(folder, plan.device, settings, steps, listeners, bool(watched))
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(learner, loader, val, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # how Lightning answers Ctrl-C, once it has put its things away
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning leaves it ignored
        raise KeyboardInterrupt from stop
    name = "best" if watched else "last"
    best = torch.load(folder / "checkpoints" / f"{name}.ckpt", map_location="cpu", weights_only=True)
    learner.load_state_dict(best["state_dict"])
    return learner


def _make_trainer(
    folder: Path,
    device: str,
    settings: TrainSettings,
    steps: int,
    listeners: list[lightning.Callback],
    validating: bool,
) -> lightning.Trainer:
    timed = steps == -1
    for name in ("lightning.pytorch", "lightning.fabric"):  # its advice is for those who wrote the loop
        logging.getLogger(name).setLevel(logging.ERROR)
    return lightning.Trainer(
        accelerator="gpu" if choose_device(device).type == "cuda" else "cpu",
        devices=1,
        precision=settings.precision,
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=settings.clip_norm,
        num_sanity_val_steps=1 if validating and timed else 0,  # times a case, so that the clock can be kept
        limit_val_batches=1.0 if validating else 0,
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=listeners,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


class _FollowSteps(lightning.Callback):
    """Examples follow the steps done: Lightning's own count of epochs gains one with every resumption."""

    def __init__(self, sampler: StreamSampler, batch: int):
        self.sampler, self.batch = sampler, batch

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Resumed inside a round, Lightning starts no new epoch."""
        self.sampler.first = trainer.global_step * self.batch

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.sampler.first = trainer.global_step * self.batch


def _keepers(folder: Path, watched: bool) -> list[ModelCheckpoint]:
    """Of the best checkpoint, if there is validation, and of the last.

    Two, because one with `save_last` writes the last only when it is the best as well. The last comes second, so that
    it knows which was the best.
    """
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    if not watched:
        return [last]
    return [ModelCheckpoint(folder, filename="best", monitor="val_dsc", mode="max", enable_version_counter=False), last]


def _finish(learner: Learner, materials: Materials, plan: TrainingPlan, folder: Path) -> Path:
    """The model folder, with the scores of the fold's validation cases on their native grids."""
    model = folder / "model"
    dataset, settings = materials.dataset, materials.settings
    network = learner.best_model.to(choose_device(plan.device)).eval()  # Lightning hands it back on the CPU
    save_bundle(model, Bundle(network, settings, dataset.labels, dataset.channel))
    metrics = {
        "validation": score_cases(network, materials) if plan.score else None,
        "steps": learner.global_step,
        "minutes": round(learner.budget.elapsed_s() / 60, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "train_cases": list(materials.fold.train),
        "fold": plan.fold,
        "seed": plan.seed,
    }
    write_json(model / "metrics.json", metrics)
    write_model_card(model / "MODEL_CARD.md", dataset, settings, metrics)
    return model


def score_cases(network: Segmenter, materials: Materials) -> dict[str, Any]:
    """Mean DSC per organ over the validation cases, on the native grid; None where no case has the organ."""
    labels, cases = materials.dataset.labels, {case.id: case for case in materials.dataset.cases}
    rows = []
    for name in materials.fold.val:
        volume, truth = materials.dataset.load(cases[name], materials.settings.data.plane)
        found = segment_volume(network, volume, materials.settings, labels, truth=truth)
        rows.append([dice(found.array == value, truth.array == value) for value in sorted(labels)])
    table = np.array(rows).reshape(-1, len(labels))
    means = {labels[value]: _mean(table[:, k]) for k, value in enumerate(sorted(labels))}
    return {
        "cases": list(materials.fold.val),
        "dsc": means,
        "mean_dsc": _mean(np.array([m for m in means.values() if m is not None])),
    }


def _mean(values: np.ndarray) -> float | None:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else None
