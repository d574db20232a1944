"""Settings of training and of segmenting."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sautomed.config.section import Section


class AugmentSettings(Section):
    """One spatial transform for all slices of a run."""

    recipe: Literal["sautomed", "samed", "ma_sam", "none"] = Field(
        "sautomed",
        description="ours, with the numbers below, or that of another system's public code, with its own numbers",
    )
    probability: float = Field(0.8, ge=0, le=1, description="of the spatial transform")
    rotate_degrees: float = Field(15.0, ge=0, le=180, description="up to this far either way")
    scale: float = Field(0.15, ge=0, lt=1, description="up to this fraction larger or smaller")
    shift: float = Field(0.08, ge=0, le=1, description="up to this fraction of the image's side")
    intensity_probability: float = Field(0.3, ge=0, le=1, description="of each intensity transform, independently")


class TrainSettings(Section):
    """How a system is trained."""

    steps: int = Field(10_000, ge=1, description="of training, unless --max-minutes is given")
    batch: int = Field(8, ge=1, description="runs per step, on each of the processes of --devices")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum")
    learning_rate: float = Field(1e-4, gt=0, description="after the warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="none for norms, biases and tokens")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="Nesterov momentum, in sgd")
    warmup_steps: int = Field(250, ge=0, description="steps over which the rate grows from 0")
    poly_power: float = Field(0.9, ge=0, description="the rate falls with (1 - progress) to this power; 0: constant")
    poly_horizon: float = Field(1.0, ge=1, description="the rate falls as if training lasted this many times as long")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; none: no limit")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="in Lightning's terms; the box prompt generator always runs in float32"
    )
    max_history: int = Field(3, ge=1, description="most history slices n of an example; n is drawn from 1 to this")
    cold_probability: float = Field(
        0.1, ge=0, le=1, description="chance of n = 0, so that starting without history is trained too"
    )
    singles: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training, at its start, that shows single slices without their neighbours' features; "
        "runs then grow to max_history",
    )
    trunk_gradient: Literal["target", "run", "all"] = Field(
        "target",
        description="slices whose trunk features carry gradient: the target and its neighbours, the run without the "
        "outer neighbours, or all",
    )
    earlier_weight: float = Field(0.5, ge=0, description="loss weight of a run's earlier slices; the target's is 1")
    balanced: float = Field(0.5, ge=0, le=1, description="chance that a target is drawn from a random class's slices")
    ce_weight: float = Field(0.2, ge=0, description="of the cross-entropy")
    dice_weight: float = Field(0.8, ge=0, description="of the Dice loss")
    dice_classes: Literal["shown", "all"] = Field(
        "shown", description="classes in the mean of the Dice loss: those present in the batch, or all (as SAMed's)"
    )
    loss_at: Literal["input", "logits"] = Field(
        "input", description="resolution of the loss: the network's input, or that of its logits (as SAMed)"
    )
    box_weight: float = Field(0.1, ge=0, description="of 5 L1 + 2 GIoU on the boxes; 0: as the paper states")
    presence_weight: float = Field(0.1, ge=0, description="of the presence outputs; 0: as the paper states")
    prompt_rows: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of rows with prompts that contradict the image or the state, which teach a network to obey "
        "them, and with a known slice before; 0: as the paper states",
    )
    box_jitter: float = Field(0.01, ge=0, description="of the box's side, in training")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are validated and kept; 0: off")
    validate_every: int = Field(250, ge=1, description="steps between validations; each also writes a checkpoint")
    validation_cases: int = Field(8, ge=1, description="cases scored during training; all of the fold at the end")
    augment: AugmentSettings = AugmentSettings()


class SegmentSettings(Section):
    """How a trained system goes through a volume."""

    walk: Literal["mid_to_ends", "end_to_end"] = Field(
        "mid_to_ends", description="from the middle slice to both ends at once, or from the last slice to the first"
    )
    chunk: int = Field(8, ge=1, description="slices that pass through the trunk together")
