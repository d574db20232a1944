"""Settings of the training and of the walk."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sautomed.config.section import Section


class AugmentSettings(Section):
    """One spatial transform for all slices of a run."""

    recipe: Literal["sautomed", "samed", "ma_sam", "none"] = Field(
        "sautomed", description="ours, with the numbers below, or that of another system's public code, with its own"
    )
    probability: float = Field(0.8, ge=0, le=1, description="of the spatial transform")
    rotate_degrees: float = Field(15.0, ge=0, le=180, description="up to this far either way")
    scale: float = Field(0.15, ge=0, lt=1, description="up to this fraction larger or smaller")
    shift: float = Field(0.08, ge=0, le=1, description="up to this fraction of the image's side")
    intensity_probability: float = Field(0.3, ge=0, le=1, description="of each intensity transform by itself")


class TrainSettings(Section):
    steps: int = Field(10_000, ge=1, description="unless --max-minutes rules")
    batch: int = Field(8, ge=1, description="runs per step")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum")
    learning_rate: float = Field(1e-4, gt=0, description="after the warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="none for norms, biases and tokens")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="whether that momentum looks ahead")
    warmup_steps: int = Field(250, ge=0, description="steps over which the rate grows from 0")
    poly_power: float = Field(0.9, ge=0, description="the rate falls with (1 - progress) to this power; 0: constant")
    poly_horizon: float = Field(
        1.0, ge=1, description="the rate falls as if training were so many times as long as it is"
    )
    clip_norm: float | None = Field(1.0, gt=0, description="a longer gradient is shortened to this; none: never")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="Lightning's names; the box prompt generator is in float32 always"
    )
    max_history: int = Field(3, ge=1, description="n is drawn from 1 to this")
    cold_probability: float = Field(0.1, ge=0, le=1, description="chance of n = 0, so that a cold start is a target")
    trunk_gradient: Literal["target", "all"] = Field(
        "target", description="slices of a run whose trunk features carry gradient: the target's three, or all"
    )
    earlier_weight: float = Field(0.5, ge=0, description="loss weight of a run's earlier slices; the target's is 1")
    balanced: float = Field(0.5, ge=0, le=1, description="chance that a target is drawn from a random class's slices")
    ce_weight: float = Field(0.2, ge=0, description="of the cross-entropy")
    dice_weight: float = Field(0.8, ge=0, description="of the Dice loss")
    dice_classes: Literal["shown", "all"] = Field(
        "shown", description="classes in the mean of the Dice loss: those that the batch shows, or all (as SAMed's)"
    )
    loss_at: Literal["input", "logits"] = Field(
        "input", description="resolution of the loss: the network's input, or that of its logits (as SAMed)"
    )
    box_weight: float = Field(0.1, ge=0, description="of 5 L1 + 2 GIoU on the boxes; 0: the paper to the letter")
    presence_weight: float = Field(0.1, ge=0, description="of the presence outputs; 0: the paper to the letter")
    box_jitter: float = Field(0.01, ge=0, description="of the box's side, in training")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are validated and kept; 0: off")
    validate_every: int = Field(250, ge=1, description="steps; a checkpoint is written as often")
    validation_cases: int = Field(8, ge=1, description="cases scored during training; all of the fold at the end")
    augment: AugmentSettings = AugmentSettings()


class SegmentSettings(Section):
    walk: Literal["mid_to_ends", "end_to_end"] = Field(
        "mid_to_ends", description="from the middle slice to both ends at once, or from the last slice to the first"
    )
    chunk: int = Field(8, ge=1, description="slices that pass the trunk together")
