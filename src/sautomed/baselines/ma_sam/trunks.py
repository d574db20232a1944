"""Encoders of stacks of slices with 3D adapters: SAM's, with FacT (as published), and convolutional ones (ours).

A convolutional trunk has no queries and values, so no FacT, and none of it is frozen.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionLayer

from sautomed.baselines.ma_sam.adapters import FacT, StackAdapter
from sautomed.model.sam.trunk import SamTrunk
from sautomed.model.trunk_convolutional import ConvolutionalTrunk
from sautomed.model.values import Features


class SamStackTrunk(nn.Module):
    """SAM's encoder with one adapter before the attention and one before the MLP of each block.

    Args:
        sam: Already frozen.
        rank: Of FacT.
        width: Channels inside an adapter.
    """

    def __init__(self, sam: SamTrunk, rank: int, width: int):
        super().__init__()
        self.sam = sam
        channels, blocks = sam.vision.config.hidden_size, len(sam.vision.layers)
        self.fact = FacT(channels, rank, blocks)
        self.before_attention = nn.ModuleList(StackAdapter(channels, width) for _ in range(blocks))
        self.before_mlp = nn.ModuleList(StackAdapter(channels, width) for _ in range(blocks))

    def forward(self, images: Float[Tensor, "b n 3 s s"]) -> Features:
        """Encode images in [0, 1]: features of b n slices, h = w = s / 16."""
        vision, slices = self.sam.vision, images.shape[1]
        tokens = vision.patch_embed(self.sam.normalise(images.flatten(0, 1))) + vision.pos_embed
        for block in range(len(vision.layers)):
            tokens = self.sam.run_block(self._block, tokens, block, slices)
        return Features(vision.neck(tokens))

    def _block(self, tokens: Float[Tensor, "bn h w c"], block: int, slices: int) -> Float[Tensor, "bn h w c"]:
        layer: SamVisionLayer = self.sam.vision.layers[block]
        tokens = self.before_attention[block](tokens, slices)
        tokens = tokens + self._attend(layer, layer.layer_norm1(tokens), block)
        tokens = self.before_mlp[block](tokens, slices)
        return tokens + layer.mlp(layer.layer_norm2(tokens))

    def _attend(self, layer: SamVisionLayer, x: Float[Tensor, "bn h w c"], block: int) -> Float[Tensor, "bn h w c"]:
        if not layer.window_size:
            return layer.attn.mix(self.fact(layer.attn.qkv(x), x, block))
        windows, padded = layer.window_partition(x, layer.window_size)
        mixed = layer.attn.mix(self.fact(layer.attn.qkv(windows), windows, block))
        return layer.window_unpartition(mixed, layer.window_size, padded, x.shape[1:3])


class ConvolutionalStackTrunk(nn.Module):
    """A convolutional trunk with an adapter after each stage.

    Args:
        share: Channels inside an adapter, as a share of the stage's.
    """

    def __init__(self, net: ConvolutionalTrunk, share: float):
        super().__init__()
        self.net = net
        self.adapters = nn.ModuleList(StackAdapter(width, max(1, round(width * share))) for width in net.stage_channels)

    def forward(self, images: Float[Tensor, "b n 3 s s"]) -> Features:
        """Encode images in [0, 1]: features of b n slices at stride 8, and finer ones at strides 4 and 2."""
        slices = images.shape[1]

        def mixer(adapter: nn.Module) -> Callable[[Tensor], Tensor]:
            return lambda x: adapter(x.permute(0, 2, 3, 1), slices).permute(0, 3, 1, 2)

        return self.net(images.flatten(0, 1), [mixer(adapter) for adapter in self.adapters])
