"""Settings of the systems that 3D-SAutoMed is compared with; docs/baselines.md describes these systems.

A class with a `name` is all that a new system needs here: `sautomed.config.settings` finds it.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sautomed.config.model import LoraSettings, MaskDecoderSettings, SamTrunkSettings, TrunkSettings
from sautomed.config.section import SystemSettings


class SamBasedSettings(SystemSettings):
    """What every system built on SAM has: a trunk of any kind, and the sizes of the decoder on it."""

    trunk: TrunkSettings = SamTrunkSettings()
    dim: int = Field(256, ge=4, multiple_of=4, description="channels of the features and of every token")
    decoder: MaskDecoderSettings = MaskDecoderSettings()

    @model_validator(mode="after")
    def _require_heads_that_divide(self) -> Self:
        if (self.dim // 2) % self.decoder.heads:
            raise ValueError(
                f"decoder.heads is {self.decoder.heads}, but must divide dim / 2, which is {self.dim // 2}"
            )
        return self


class SamSettings(SamBasedSettings):
    """SAM unchanged, without adapters, prompted from the reference: an oracle (Kirillov et al. 2023)."""

    name: Literal["sam"] = Field("sam", description="which system")
    prompt: Literal["points", "box"] = Field(
        "points", description="what is taken from the reference for each organ and slice"
    )


class SamedSettings(SamBasedSettings):
    """SAMed (Zhang and Liu 2023): LoRA in SAM's encoder, no prompt, one mask token per class."""

    name: Literal["samed"] = Field("samed", description="which system")
    # SAM's encoder gets images in [0, 1], without SAM's mean and deviation.
    trunk: TrunkSettings = SamTrunkSettings(input_norm="medsam")
    checkpoint: str | None = Field(
        None, description="a published SAMed checkpoint (epoch_159.pth) to start from; none: from SAM alone"
    )


class MaSamSettings(SamBasedSettings):
    """MA-SAM (Chen et al. 2023): FacT and 3D adapters in SAM's encoder, over stacks of slices."""

    name: Literal["ma_sam"] = Field("ma_sam", description="which system")
    # Images in [0, 1] as in the public code, and FacT instead of LoRA.
    trunk: TrunkSettings = SamTrunkSettings(input_norm="medsam", lora=LoraSettings(rank=0))
    decoder: MaskDecoderSettings = MaskDecoderSettings(head="full")
    slices: int = Field(5, ge=1, description="slices of a stack, an odd number")
    stride: int = Field(1, ge=1, description="slices from one stack to the next when segmenting; no more than a stack")
    fact_rank: int = Field(
        32, ge=1, description="r of FacT's r x r matrices on q and v; a convolutional trunk has no q and v"
    )
    adapter_width: int = Field(384, ge=1, description="channels inside the 3D adapters of a SAM trunk")
    adapter_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="the same on a convolutional trunk, as a share of the stage's channels (384 is half of 768)",
    )
    checkpoint: str | None = Field(
        None, description="epoch_N.pth as MA-SAM's code saves it: adapters, FacT and decoder to start from"
    )

    @model_validator(mode="after")
    def _require_valid_combination(self) -> Self:
        if self.slices % 2 == 0:
            raise ValueError(f"slices is {self.slices}, but must be odd, so that a stack has a middle")
        if self.stride > self.slices:
            raise ValueError(f"stride is {self.stride}, which would skip slices between stacks of {self.slices}")
        if self.checkpoint is not None and self.trunk.kind != "sam":
            raise ValueError("checkpoint: MA-SAM's published files need a SAM trunk")
        if self.decoder.head != "full":
            raise ValueError(f"decoder.head is {self.decoder.head}, but MA-SAM's is full")
        return self


class SlideSamSettings(SamBasedSettings):
    """Slide-SAM (Quan et al. 2023): three slices as channels, one organ at a time, its box prompts the next slices."""

    name: Literal["slide_sam"] = Field("slide_sam", description="which system")
    trunk: TrunkSettings = SamTrunkSettings(lora=LoraSettings(rank=8))
    checkpoint: str | None = Field(
        None, description="a published Slide-SAM checkpoint (model.pth); replaces model.trunk.weights"
    )
    smallest_part: float = Field(
        0.0014, ge=0, lt=1, description="share of the middle slice; smaller organs are no training examples"
    )
    iou_of: Literal["best", "all"] = Field(
        "best",
        description="hypotheses whose IoU output is trained: the best as published; a trunk from scratch needs all",
    )
    enlarge: float = Field(
        0.05, ge=0, description="margin at each end of a box's side, as a share of it, before it prompts the next slice"
    )
    stop_pixels: int = Field(
        50, ge=0, description="a mask of at most this many pixels of a 512 x 512 slice gives no further box"
    )
    stop_iou: float = Field(
        0.5, ge=0, le=1, description="propagation ends at slices whose predicted IoU is not above this"
    )
    stop_stability: float = Field(
        0.6,
        ge=0,
        le=1,
        description="propagation ends where the masks at logits above 1 and above -1 have a lower IoU than this",
    )
    opening: int = Field(
        8, ge=0, description="largest side of the opening that removes specks, in pixels of a 512 x 512 slice"
    )

    @model_validator(mode="before")
    @classmethod
    def _load_checkpoint_as_trunk(cls, model: Any) -> Any:
        """Make the checkpoint the trunk's weights, in model folders too: the published file holds the whole network."""
        if not isinstance(model, dict) or model.get("checkpoint") is None:
            return model
        trunk = model.get("trunk", {})
        trunk = trunk if isinstance(trunk, dict) else trunk.model_dump()
        if trunk.get("kind", "sam") != "sam":
            raise ValueError("checkpoint: Slide-SAM's published network has SAM's trunk; use trunk.kind=sam")
        return {**model, "trunk": {**trunk, "weights": model["checkpoint"]}, "checkpoint": None}


class TransUNetSettings(SystemSettings):
    """TransUNet (Chen et al. 2021); the defaults are R50-ViT-B_16."""

    name: Literal["transunet"] = Field("transunet", description="which system")
    weights: str | None = Field(None, description="R50+ViT-B_16.npz, pretrained on ImageNet; none: random")
    width: int = Field(
        64, ge=32, multiple_of=32, description="channels of the ResNet's stem; its stages have 4, 8, 16 x"
    )
    units: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 4, 9), description="bottlenecks of the ResNet's stages"
    )
    dim: int = Field(768, ge=1, description="channels of the transformer's tokens")
    layers: int = Field(12, ge=1, description="layers of the transformer")
    heads: int = Field(12, ge=1, description="heads of its attention")
    mlp: int = Field(3072, ge=1, description="hidden width of its MLPs")
    dropout: float = Field(0.1, ge=0, lt=1, description="on its input tokens, and in its MLPs")

    @model_validator(mode="after")
    def _require_heads_that_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"heads is {self.heads}, but must divide dim, which is {self.dim}")
        return self


class SwinUnetSettings(SystemSettings):
    """Swin-Unet (Cao et al. 2022); the defaults are those of Swin-T."""

    name: Literal["swin_unet"] = Field("swin_unet", description="which system")
    weights: str | None = Field(
        None, description="swin_tiny_patch4_window7_224.pth, pretrained on ImageNet; none: random"
    )
    dim: int = Field(96, ge=1, description="channels of the first stage; each further stage has twice as many")
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (2, 2, 2, 2), description="blocks of the stages; the decoder mirrors them"
    )
    heads: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        (3, 6, 12, 24), description="attention heads of the stages"
    )
    drop_path: float = Field(
        0.2, ge=0, lt=1, description="chance that training skips the last block; less for earlier ones"
    )

    @model_validator(mode="after")
    def _require_heads_that_divide(self) -> Self:
        for stage, heads in enumerate(self.heads):
            if self.dim * 2**stage % heads:
                raise ValueError(f"heads[{stage}] is {heads}, but must divide {self.dim * 2**stage} channels")
        return self


class DynUNetSettings(SystemSettings):
    """nnU-Net's plain 3D U-Net, as MONAI has it (Isensee et al. 2021)."""

    name: Literal["dynunet"] = Field("dynunet", description="which system")
    slices: int = Field(32, ge=4, multiple_of=2, description="slices of a window")
    flat_stages: int = Field(
        1,
        ge=0,
        description="first stages without convolution across slices: log2 of slice over pixel spacing, rounded",
    )
    filters: int = Field(
        32, ge=16, multiple_of=8, description="channels of the first stage; doubled from stage to stage, up to 320"
    )


class SwinUNETRSettings(SystemSettings):
    """SwinUNETR, as MONAI has it (Hatamizadeh et al. 2022)."""

    name: Literal["swinunetr"] = Field("swinunetr", description="which system")
    slices: int = Field(64, multiple_of=32, ge=32, description="slices of a window")
    features: int = Field(48, multiple_of=12, ge=12, description="channels of the first stage")
