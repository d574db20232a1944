"""SAM's learned position tables, resized to another image size.

SAM learned its positions on a grid of 64 x 64 patches. At another size that grid is stretched: the absolute
positions in two dimensions, the relative ones of the global blocks along their one. Windowed blocks look at 14 x 14
patches whatever the image's size, so their tables stay. Source: SAMed (Zhang and Liu 2023), which introduced this.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor

from sautomed.model.sam.keys import PATCH, SamSizes, check_image_size


def resize_position_tables(state: Mapping[str, Tensor], sizes: SamSizes, image_size: int) -> dict[str, Tensor]:
    """Return the same weights for images of another size.

    Args:
        state: Under transformers names, with tables for a grid of `sizes.grid`.
        image_size: Side of the square images in pixels.
    Returns:
        A new dict; tensors that do not change are shared with `state`.
    Raises:
        UnknownSetting: The size is not a multiple of 16 from 128 to 1024.
    """
    check_image_size(image_size)
    grid = image_size // PATCH
    resized = dict(state)
    if grid == sizes.grid:
        return resized
    resized["vision_encoder.pos_embed"] = _stretch_map(state["vision_encoder.pos_embed"], grid)
    for block in sizes.global_blocks:
        for axis in "hw":
            key = f"vision_encoder.layers.{block}.attn.rel_pos_{axis}"
            resized[key] = _stretch_rows(state[key], 2 * grid - 1)
    return resized


def _stretch_map(table: Float[Tensor, "1 g g c"], grid: int) -> Float[Tensor, "1 {grid} {grid} c"]:
    channels_first = table.float().permute(0, 3, 1, 2)
    stretched = nnf.interpolate(channels_first, size=(grid, grid), mode="bilinear", align_corners=False)
    return stretched.permute(0, 2, 3, 1).contiguous()


def _stretch_rows(table: Float[Tensor, "g c"], rows: int) -> Float[Tensor, "{rows} c"]:
    stretched = nnf.interpolate(table.float().T[None], size=rows, mode="linear", align_corners=False)
    return stretched[0].T.contiguous()
