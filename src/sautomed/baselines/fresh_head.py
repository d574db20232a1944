"""The head of SAMed and MA-SAM on a trunk from scratch: 3D-SAutoMed's mask decoder without history and prompts."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from sautomed.config import MaskDecoderSettings
from sautomed.model.build import decoder_widths
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.position_code import PositionCode
from sautomed.model.sautomed import Trunk
from sautomed.model.values import Features


class FreshHead(nn.Module):
    """A mask decoder of each slice by itself, without prompts.

    Args:
        dim: Channels of the features.
        trunk: Source of the features; its finer maps are mixed in.
        classes: Number of organs, without the background.
    """

    def __init__(self, dim: int, sizes: MaskDecoderSettings, trunk: Trunk, classes: int):
        super().__init__()
        widths = decoder_widths(sizes, dim, trunk.stride)
        self.decoder = MaskDecoder(classes, dim, sizes.heads, sizes.mlp, widths, trunk.fine_channels)
        self.position = PositionCode(dim)

    def forward(self, features: Features) -> Float[Tensor, "n k1 h2 w2"]:
        image = features.coarse
        position = self.position.dense(*image.shape[-2:]).to(image.dtype)
        nothing = image.new_zeros(len(image), 0, image.shape[1])
        return self.decoder(image, features.fine, position, nothing, nothing).logits
