"""SAMed: SAM's encoder with LoRA, no prompt, and one mask token for each class (Zhang and Liu 2023).

On SAM, the encoder is frozen except for adapters on q and v of every block; prompt encoder and mask decoder are
trained. On a trunk from scratch, the trunk and 3D-SAutoMed's mask decoder are trained.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionEncoder

from sautomed.baselines.fresh_head import FreshHead
from sautomed.config import SamTrunkSettings
from sautomed.config.baselines import SamedSettings
from sautomed.errors import UnknownSetting, WrongWeights
from sautomed.model.build import MadeTrunk, make_trunk
from sautomed.model.sam.files import find_weights, read_tensors
from sautomed.model.sam.keys import official_name
from sautomed.model.sam.network import Sam, decode_masks, dense_position
from sautomed.model.sam.parts import fix_positions, make_decoder
from sautomed.model.sam.weights import differences, unwrap
from sautomed.model.sautomed import Trunk
from sautomed.model.slice_walker import PlainSegmenter
from sautomed.model.values import Features

# Parts of SAM's decoder that depend on the number of mask tokens; random at first, as in the public code.
_RANDOM = ("mask_tokens.", "output_hypernetworks_mlps.", "iou_prediction_head.")


def build(settings: SamedSettings, classes: int, image_size: int) -> Samed:
    """Build SAMed for `classes` organs. The trunk's weights are read here, and the checkpoint if there is one.

    Raises:
        ModelError: Weights cannot be found or do not fit.
        UnknownSetting: Settings that do not go together.
    """
    _check(settings)
    return assemble(settings, make_trunk(settings.trunk, settings.dim, settings.decoder, image_size), classes)


def assemble(settings: SamedSettings, made: MadeTrunk, classes: int) -> Samed:
    """Add the head that goes with a trunk; both start from the checkpoint if the settings name one."""
    if made.sam is None:
        return Samed(made.net, FreshHead(settings.dim, settings.decoder, made.net, classes), classes)
    head = SamedHead(made.sam, classes)
    if settings.checkpoint is not None:
        load_published(settings.checkpoint, made.sam.vision, head)
    model = Samed(made.net, head, classes)
    model.pretrained = made.origin
    return model


class Samed(PlainSegmenter):
    """A 2D network: a trunk, and a head without prompts.

    Args:
        head: Computes the logits of the background and every class.
    """

    def __init__(self, trunk: Trunk, head: SamedHead | FreshHead, classes: int):
        super().__init__()
        self.trunk, self.head, self.classes = trunk, head, classes

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features:
        return Features.of(self.trunk(images))

    def logits(self, features: Features) -> Float[Tensor, "n k1 h w"]:
        return self.head(features)


class SamedHead(nn.Module):
    """SAM's prompt encoder and mask decoder with one mask token per class; logits at stride 4.

    All parameters count as trained, as published. Without prompts only the prompt encoder's embedding of "no mask" is
    used, and no loss reaches the IoU head.

    Args:
        sam: Its prompt encoder is used, not copied; its decoder's transformer, upscaling and IoU token are copied.
        classes: Number of organs, without the background, which has the first mask token.
    """

    def __init__(self, sam: Sam, classes: int):
        super().__init__()
        self.prompt = sam.prompt.requires_grad_(True)
        fix_positions(self.prompt.shared_embedding)
        self.decoder = make_decoder(classes + 1)
        state = sam.decoder.state_dict()
        own = self.decoder.state_dict()
        self.decoder.load_state_dict(
            {key: value if key.startswith(_RANDOM) else state[key] for key, value in own.items()}
        )

    def forward(self, features: Features) -> Float[Tensor, "n k1 h w"]:
        image = features.coarse
        position = dense_position(self.prompt.shared_embedding, *image.shape[-2:]).to(image.dtype)
        no_mask = self.prompt.no_mask_embed.weight[:, None, :, None, None]
        no_prompt = image.new_zeros(len(image), 1, 0, image.shape[1])
        return decode_masks(self.decoder, position, image, no_prompt, no_mask)[0][:, 0]


@torch.no_grad()
def load_published(source: str, vision: SamVisionEncoder, head: SamedHead) -> None:
    """Copy a published checkpoint (`epoch_159.pth`) into the parts of a SAMed.

    Args:
        source: A file with `w_a_000...` and `w_b_000...` (even: q, odd: v, block after block), and all of
            `prompt_encoder.` and `mask_decoder.` under the official names.
        vision: Of the SAM that the checkpoint was trained on, with LoRA on q and v at a scale of 1.
    Raises:
        WeightsNotFound: There is no such file.
        WrongWeights: Its keys or shapes are not those of these parts; every difference is listed.
        DamagedWeights: The file is cut short or broken.
        UnsafeWeights: Reading it would run code.
    """
    state = unwrap(read_tensors(find_weights(source)))
    wanted = _by_published_name(vision, head)
    faults = differences(state, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    if faults:
        raise WrongWeights(
            f"this is no SAMed checkpoint for this trunk, LoRA rank and number of organs. {' '.join(faults)}",
            where=source,
            cure="Give SAMed's epoch_159.pth, and set all three as it was trained: ViT-B, rank 4, 8 organs.",
        )
    for name, tensor in wanted.items():
        tensor.copy_(state[name])


def _by_published_name(vision: SamVisionEncoder, head: SamedHead) -> dict[str, Tensor]:
    """Return the parameters of these parts under the names of a published checkpoint."""
    own: dict[str, Tensor] = {}
    layers = [getattr(block.attn.qkv, target) for block in vision.layers for target in ("q", "v")]
    for number, layer in enumerate(layers):
        own[f"w_a_{number:03d}"] = layer.lora_A["default"].weight
        own[f"w_b_{number:03d}"] = layer.lora_B["default"].weight
    for part, module in (("prompt_encoder", head.prompt), ("mask_decoder", head.decoder)):
        own |= {official_name(f"{part}.{key}"): tensor for key, tensor in module.state_dict().items()}
    return own


def _check(settings: SamedSettings) -> None:
    """Raise UnknownSetting for settings that do not go together."""
    trunk = settings.trunk
    if not isinstance(trunk, SamTrunkSettings):
        if settings.checkpoint is not None:
            raise UnknownSetting(
                "a published SAMed checkpoint goes with SAM's encoder, not with a trunk from scratch.",
                where="model.checkpoint",
                cure="Use model.trunk.kind=sam, or leave the checkpoint out.",
            )
        return
    if settings.decoder.head != "coarse":
        raise UnknownSetting(
            "SAMed's logits are SAM's, at stride 4.",
            where="model.decoder.head",
            cure="Set it to coarse.",
        )
    lora = trunk.lora
    as_published = lora.rank > 0 and set(lora.targets) == {"q", "v"} and lora.alpha in (None, lora.rank)
    if settings.checkpoint is not None and not as_published:
        raise UnknownSetting(
            "SAMed's checkpoints hold adapters of q and v at a scale of 1.",
            where="model.trunk.lora",
            cure="With model.checkpoint leave the targets and the scale of LoRA at their defaults.",
        )
