"""The two names of every SAM parameter, and the sizes that follow from a set of parameters.

"Official" names are those of the files that SAM's authors published (`image_encoder.blocks.0.norm1.weight`);
"transformers" names are those of `transformers.SamModel` (`vision_encoder.layers.0.layer_norm1.weight`). The tensors
are the same in both; only names differ. Knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from sautomed.errors import UnknownSetting

SamSize = Literal["b", "l", "h"]
Layout = Literal["official", "transformers"]

CHANNELS = 256  # of the features, the prompts and the decoder, in every published SAM
PATCH = 16
_DEEPEST = 128  # blocks; a key with a larger number is not SAM's
TIED_KEY = "shared_image_embedding.positional_embedding"  # transformers keeps one tensor under two names
POSITION_KEY = "prompt_encoder.shared_embedding.positional_embedding"

# From transformers to official, in this order: a later rule applies to the result of an earlier one.
_RENAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"^(image_encoder\.patch_embed)\.projection\.", r"\1.proj."),
        (r"^(image_encoder\.neck)\.conv1\.", r"\1.0."),
        (r"^(image_encoder\.neck)\.layer_norm1\.", r"\1.1."),
        (r"^(image_encoder\.neck)\.conv2\.", r"\1.2."),
        (r"^(image_encoder\.neck)\.layer_norm2\.", r"\1.3."),
        (
            r"^prompt_encoder\.shared_embedding\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
        (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.layers.1."),
        (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_in\.", r"\1.layers.0."),
        (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_out\.", r"\1.layers.2."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
    )
)


@dataclass(frozen=True)
class SamSizes:
    """Sizes of a SAM network, read off its parameters.

    Lengths are counts; `grid` is the side of the position table in patches of 16 px (64 = made for 1024 px).
    """

    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    grid: int = 64
    window: int = 14
    mlp: int = 0

    def __post_init__(self) -> None:
        if not self.mlp:
            object.__setattr__(self, "mlp", 4 * self.dim)

    @property
    def name(self) -> str:
        """`ViT-B`, `ViT-L`, `ViT-H`, or the sizes of another network."""
        for size, known in SIZES.items():
            if (known.dim, known.depth) == (self.dim, self.depth):
                return f"ViT-{size.upper()}"
        return f"ViT with {self.depth} blocks of {self.dim} channels"


SIZES: dict[SamSize, SamSizes] = {
    "b": SamSizes(dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "l": SamSizes(dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "h": SamSizes(dim=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}


def check_image_size(image_size: int) -> None:
    """Raise UnknownSetting unless the size is a multiple of 16 from 128 to 1024."""
    if image_size % PATCH or not 128 <= image_size <= 1024:
        raise UnknownSetting(
            f"SAM takes square images of 128 to 1024 pixels in steps of {PATCH}, not {image_size}.",
            where="image_size",
            cure=f"The nearest that it takes is {_nearest_size(image_size)}.",
        )


def _nearest_size(image_size: int) -> int:
    return min(1024, max(128, round(image_size / PATCH) * PATCH))


def official_name(key: str) -> str:
    """Convert the transformers name of a parameter to the official one; a name of neither layout stays as it is."""
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict to official names (as in `sam_vit_b_01ec64.pth`). The tensors are not copied."""
    return {official_name(key): tensor for key, tensor in state.items() if key != TIED_KEY}


def infer_sizes(state: Mapping[str, Tensor]) -> SamSizes | None:
    """Read the network's sizes off its parameters.

    Width, depth and MLP come from shapes. Heads and global blocks come from the table of published sizes; for any
    other network from the relative position tables: a row is one head wide, and a block whose table spans the whole
    grid is global.

    Args:
        state: Parameters under official names, at least those of the image encoder.
    Returns:
        None if these are not the parameters of a SAM image encoder.
    """
    patch = state.get("image_encoder.patch_embed.proj.weight")
    blocks = {int(found[1]) for key in state if (found := re.match(r"image_encoder\.blocks\.(\d+)\.", key))}
    if patch is None or patch.ndim != 4 or not blocks or max(blocks) >= _DEEPEST:
        return None
    dim, depth = patch.shape[0], max(blocks) + 1
    grid = _size(state, "image_encoder.pos_embed", axis=1) or 64
    mlp = _size(state, "image_encoder.blocks.0.mlp.lin1.bias", axis=0) or 4 * dim
    rows = {block: _table_size(state, block, axis=0) for block in range(depth)}
    wide = tuple(block for block in range(depth) if rows[block] == 2 * grid - 1)
    if published := _published(dim, depth, ends_windowed=depth - 1 not in wide):
        return replace(published, grid=grid, mlp=mlp)
    head_dim = next((size for block in range(depth) if (size := _table_size(state, block, axis=1))), 64)
    window = next(((rows[block] + 1) // 2 for block in range(depth) if rows[block] and block not in wide), 14)
    return SamSizes(dim, depth, max(1, dim // head_dim), wide, grid, window, mlp)


def _published(dim: int, depth: int, ends_windowed: bool) -> SamSizes | None:
    """Return the published sizes of this width.

    A network cut short is not taken for a smaller one: SAM's last block is global, so one of a published width that
    ends on a windowed block lacks blocks, and is held against the published depth.
    """
    for known in SIZES.values():
        if known.dim == dim and (known.depth == depth or ends_windowed):
            return known
    return None


def _table_size(state: Mapping[str, Tensor], block: int, axis: int) -> int:
    """Return n of a block's relative position tables, whose rows are 2 n - 1 distances; 0 without tables."""
    key = f"image_encoder.blocks.{block}.attn.rel_pos_"
    return _size(state, f"{key}h", axis) or _size(state, f"{key}w", axis)


def _size(state: Mapping[str, Tensor], key: str, axis: int) -> int:
    tensor = state.get(key)
    return tensor.shape[axis] if tensor is not None and tensor.ndim > axis else 0
