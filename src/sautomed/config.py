"""Every setting of a model and its training, checked once and written into every run.

A variant is data: parts are chosen here when a model is built, and no `forward` asks the settings anything.
Where the paper is silent, `docs/paper.md` gives the reason for the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sautomed.errors import UnknownSetting


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoraSettings(_Section):
    """Low-rank adapters in the SAM trunk (Hu et al. 2021); rank and targets as SAMed."""

    rank: int = Field(4, ge=1, description="columns of each adapter")
    alpha: float | None = Field(None, gt=0, description="scale is alpha / rank; none means a scale of 1")
    targets: tuple[Literal["q", "k", "v"], ...] = Field(
        ("q", "v"), description="projections with an adapter; the others stay exactly SAM's"
    )


class SamTrunkSettings(_Section):
    """SAM's ViT with LoRA, everything else of it frozen."""

    kind: Literal["sam"] = Field("sam", description="which trunk")
    weights: str = Field(
        "facebook/sam-vit-base", description="hub id, folder or file in any SAM layout; they also say ViT-B, L or H"
    )
    input_norm: Literal["auto", "sam", "medsam"] = Field(
        "auto", description="sam: its mean and deviation on 0..255; medsam: [0, 1] as is; auto: by the weights' name"
    )
    lora: LoraSettings = LoraSettings()
    gradient_checkpointing: bool = Field(False, description="compute blocks anew going backward: less memory, slower")


class ResNetTrunkSettings(_Section):
    """A small convolutional trunk, trained from scratch: features at stride 8, finer ones for the upscaling."""

    kind: Literal["resnet"] = Field("resnet", description="which trunk")
    stem: int = Field(32, description="channels at stride 2")
    widths: tuple[int, ...] = Field((48, 96, 192, 256), description="channels at strides 4, 8, 16, ...")
    depths: tuple[int, ...] = Field((2, 2, 2, 2), description="residual blocks at each of these strides")

    @field_validator("stem", "widths")
    @classmethod
    def _at_least_16(cls, sizes: int | tuple[int, ...]) -> int | tuple[int, ...]:
        """With 8, oneDNN's gradient of a strided 1x1 convolution writes past its buffer (seen in torch 2.13)."""
        if min(sizes if isinstance(sizes, tuple) else (sizes,)) < 16:
            raise ValueError(f"{sizes}: a convolutional trunk needs at least 16 channels everywhere")
        return sizes

    @model_validator(mode="after")
    def _stages_that_exist(self) -> Self:
        if len(self.widths) < 2:
            raise ValueError(f"widths {list(self.widths)}: at least 2 are needed, for the strides 4 and 8")
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths must be as many as widths ({len(self.widths)}), but are {list(self.depths)}")
        if min(self.depths) < 1:
            raise ValueError(f"depths {list(self.depths)}: each must be at least 1")
        return self


TrunkSettings = Annotated[SamTrunkSettings | ResNetTrunkSettings, Field(discriminator="kind")]


class SliceAttentionSettings(_Section):
    """Inter- and intra-slice attention (Eq. 1-2)."""

    heads: int = Field(8, ge=1, description="of both attentions")
    blocks: int = Field(1, ge=1, description="how often Eq. 1-2 are applied")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden width of the MLP of Eq. 2, in units of dim")


class HistorySettings(_Section):
    """Historical slice information sharing (Eq. 3)."""

    tokens: int = Field(8, ge=1, description="K, history tokens")


class BoxPromptSettings(_Section):
    """Box Prompt Generator (Eq. 4-5)."""

    layers: int = Field(2, ge=1, description="each moves the boxes a little")
    heads: int = Field(8, ge=1, description="of its attentions")
    feedforward: int = Field(1024, ge=1, description="hidden width of its MLPs")
    memory: Literal["z", "f"] = Field("z", description="keys and values: after (z) or before (f) the slice attention")
    min_pixels: int = Field(10, ge=1, description="a smaller organ in the previous slice gives no box; network pixels")


class MaskDecoderSettings(_Section):
    """SAM's mask decoder with one mask token per class and one for the background."""

    heads: int = Field(8, ge=1, description="of its attentions; SAM's 8 with a SAM trunk")
    mlp: int = Field(2048, ge=1, description="hidden width of its MLPs; SAM's 2048 with a SAM trunk")
    head: Literal["coarse", "full"] = Field(
        "coarse", description="logits two doublings above the trunk's stride (stride 4 with SAM), or at full resolution"
    )
    widths: tuple[int, ...] | None = Field(None, description="channels after each doubling; none: dim/4, dim/8, ...")

    @field_validator("widths")
    @classmethod
    def _at_least_1(cls, widths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if widths and min(widths) < 1:
            raise ValueError(f"{list(widths)}: each width must be at least 1")
        return widths


class ModelSettings(_Section):
    trunk: TrunkSettings = SamTrunkSettings()
    dim: int = Field(256, ge=4, description="channels of f, z and of every token")
    local_3d: bool = Field(True, description="Table 4: local 3D-aware")
    global_3d: bool = Field(True, description="Table 4: global 3D-aware")
    prompt: bool = Field(True, description="Table 4: prompt generator")
    slice_attention: SliceAttentionSettings = SliceAttentionSettings()
    history: HistorySettings = HistorySettings()
    box_prompt: BoxPromptSettings = BoxPromptSettings()
    decoder: MaskDecoderSettings = MaskDecoderSettings()

    @field_validator("trunk", mode="before")
    @classmethod
    def _sam_unless_said(cls, trunk: Any) -> Any:
        """`--set model.trunk.weights=...` need not repeat which kind of trunk the default is."""
        return {"kind": "sam", **trunk} if isinstance(trunk, dict) else trunk

    @model_validator(mode="after")
    def _widths_that_divide(self) -> Self:
        """The place codes halve dim twice; each head takes an equal share, in the decoder of dim / 2 (as SAM's)."""
        if self.dim % 4:
            raise ValueError(f"dim is {self.dim}, but must be a multiple of 4")
        shares = (
            (self.local_3d, "slice_attention", self.slice_attention.heads, self.dim, "dim"),
            (self.prompt, "box_prompt", self.box_prompt.heads, self.dim, "dim"),
            (True, "decoder", self.decoder.heads, self.dim // 2, "dim / 2"),
        )
        for built, part, heads, width, name in shares:
            if built and width % heads:
                raise ValueError(f"{part}.heads is {heads}, but must divide {name}, which is {width}")
        return self


class DataSettings(_Section):
    image_size: int | Literal["auto"] = Field(
        512, description="side in pixels, a multiple of 16 from 128 to 1024; auto: the native side, within auto_size"
    )
    auto_size: tuple[int, int] = Field((128, 256), description="smallest and largest side that auto chooses")
    plane: Literal["auto", "axial", "coronal", "sagittal"] = Field(
        "auto", description="of the slices; auto: across the coarsest axis, axial where no axis is coarse"
    )
    modality: Literal["auto", "ct", "other"] = Field("auto", description="auto: by the channel's name")
    window_hu: tuple[float, float] = Field((-125.0, 275.0), description="what becomes 0 and 1 in CT")
    percentiles: tuple[float, float] = Field(
        (0.5, 99.5), description="of the non-zero voxels: what becomes 0 and 1 elsewhere"
    )
    channels: Literal["repeat", "neighbours"] = Field(
        "repeat", description="the trunk's three channels: one slice three times, or the slice between its neighbours"
    )

    @field_validator("image_size", "auto_size")
    @classmethod
    def _multiples_of_16(cls, sizes: int | str | tuple[int, int]) -> int | str | tuple[int, int]:
        for size in sizes if isinstance(sizes, tuple) else (sizes,):
            if isinstance(size, int) and (size % 16 or not 128 <= size <= 1024):
                raise ValueError(f"{size} is not a multiple of 16 from 128 to 1024")
        return sizes

    @field_validator("auto_size")
    @classmethod
    def _smallest_first(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if sizes[0] > sizes[1]:
            raise ValueError(f"{list(sizes)}: the first, the smallest side, must not be above the second")
        return sizes

    @field_validator("window_hu", "percentiles")
    @classmethod
    def _rising(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] >= bounds[1]:
            raise ValueError(f"{list(bounds)}: the first, which becomes 0, must be below the second, which becomes 1")
        return bounds

    @field_validator("percentiles")
    @classmethod
    def _from_0_to_100(cls, percentiles: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= percentile <= 100 for percentile in percentiles):
            raise ValueError(f"{list(percentiles)}: percentiles lie between 0 and 100")
        return percentiles


class AugmentSettings(_Section):
    """One spatial transform for all slices of a run."""

    probability: float = Field(0.8, ge=0, le=1, description="of the spatial transform")
    rotate_degrees: float = Field(15.0, ge=0, le=180, description="up to this far either way")
    scale: float = Field(0.15, ge=0, lt=1, description="up to this fraction larger or smaller")
    shift: float = Field(0.08, ge=0, le=1, description="up to this fraction of the image's side")
    intensity_probability: float = Field(0.3, ge=0, le=1, description="of each intensity transform by itself")


class TrainSettings(_Section):
    steps: int = Field(10_000, ge=1, description="unless --max-minutes rules")
    batch: int = Field(8, ge=1, description="runs per step")
    learning_rate: float = Field(1e-4, gt=0, description="AdamW's, after the warm-up")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's; none for norms, biases and tokens")
    warmup_steps: int = Field(250, ge=0, description="steps over which the rate grows from 0")
    poly_power: float = Field(0.9, ge=0, description="the rate falls with (1 - progress) to this power; 0: constant")
    clip_norm: float = Field(1.0, gt=0, description="a longer gradient is shortened to this")
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
    box_weight: float = Field(0.1, ge=0, description="of 5 L1 + 2 GIoU on the boxes; 0: the paper to the letter")
    presence_weight: float = Field(0.1, ge=0, description="of the presence outputs; 0: the paper to the letter")
    box_jitter: float = Field(0.01, ge=0, description="of the box's side, in training")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are validated and kept; 0: off")
    validate_every: int = Field(250, ge=1, description="steps; a checkpoint is written as often")
    validation_cases: int = Field(8, ge=1, description="cases scored during training; all of the fold at the end")
    augment: AugmentSettings = AugmentSettings()


class SegmentSettings(_Section):
    walk: Literal["mid_to_ends", "end_to_end"] = Field(
        "mid_to_ends", description="from the middle slice to both ends at once, or from the last slice to the first"
    )
    chunk: int = Field(8, ge=1, description="slices that pass the trunk together")


class Settings(_Section):
    """A whole experiment: what is built, what it sees, how it is trained and how it walks."""

    preset: str = Field("sam-vit-b", description="a name to know the run by")
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    segment: SegmentSettings = SegmentSettings()


def preset_names() -> list[str]:
    return sorted(
        p.name.removesuffix(".yaml") for p in resources.files("sautomed.presets").iterdir() if p.name.endswith(".yaml")
    )


def load_settings(preset_or_file: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """Settings from a preset's name or a YAML file, with `a.b=c` overrides on top.

    Raises:
        UnknownSetting: neither a preset nor a file, no YAML, a key that does not exist, or a value it cannot take.
    """
    path = Path(preset_or_file)
    if str(preset_or_file) in preset_names():
        text = (resources.files("sautomed.presets") / f"{preset_or_file}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = _read_text(path)
    else:
        raise UnknownSetting(
            f"there is no preset or settings file of the name '{preset_or_file}'.",
            cure=f"Use one of {', '.join(preset_names())}, or the path of a YAML file.",
        )
    tree = _parse_yaml(text, str(preset_or_file)) or {}
    if not isinstance(tree, dict):
        raise UnknownSetting(
            "holds no settings: a list or a single value stands where names with values should.",
            where=preset_or_file,
            cure="Write names with values, for example train: {batch: 4}.",
        )
    for override in overrides:
        _apply(tree, override)
    return parse_settings(tree, where=str(preset_or_file))


def parse_settings(tree: Mapping[str, Any], where: str) -> Settings:
    """Settings from plain data, as a run's `config.json` holds them."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnknownSetting(
            f"settings that cannot be used: {faults}.",
            where=where,
            cure="docs/settings.md lists every setting with its values.",
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnknownSetting("is not UTF-8 text.", where=path, cure="Save it as UTF-8.") from error
    except OSError as error:
        raise UnknownSetting(
            f"cannot be read: {error.strerror}.", where=path, cure="Change its permissions."
        ) from error


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UnknownSetting(
            f"is not valid YAML: {' '.join(str(error).split())}.",
            where=where,
            cure="Check brackets, quotes and indentation.",
        ) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UnknownSetting(
            f"'{override}' is not of the form name=value.",
            where="--set",
            cure="Write, for example, --set train.batch=4.",
        )
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UnknownSetting(
                f"'{section}' in '{key}' has no settings below it.",
                where="--set",
                cure="docs/settings.md lists every setting.",
            )
    tree[last] = _parse_yaml(value, f"--set {override}")
