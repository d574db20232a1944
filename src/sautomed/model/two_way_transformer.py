"""SAM's two-way transformer: tokens and the image attend to each other (Kirillov et al. 2023, appendix A).

The parameters have the names that they have in transformers' SAM, and the outputs are the same, so that SAM's weights
load as they are. It is our own because importing transformers' takes longer than segmenting a small scan.
"""

import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor, nn

LAYERS = 2  # of SAM
DOWNSAMPLE = 2  # of the channels within attention between tokens and image, of SAM


class TwoWayTransformer(nn.Module):
    """Two layers, and a last look of the tokens at the image.

    Args:
        dim: Channels of tokens and image.
        heads: Of every attention.
        mlp: Hidden channels of the tokens' feed-forward layer.
    """

    def __init__(self, dim: int, heads: int, mlp: int):
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(dim, heads, mlp, first=i == 0) for i in range(LAYERS))
        self.final_attn_token_to_image = DownsampledAttention(dim, heads, DOWNSAMPLE)
        self.layer_norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self, tokens: Float[Tensor, "b t c"], image: Float[Tensor, "b p c"], position: Float[Tensor, "#b p c"]
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b p c"]]:
        """Return the changed tokens and the changed image.

        Args:
            image: One vector per place.
            position: Code of each place. The code of a token is the token itself, as it comes in.
        """
        code = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, code, position)
        tokens = tokens + self.final_attn_token_to_image(tokens + code, image + position, image)
        return self.layer_norm_final_attn(tokens), image


class TwoWayLayer(nn.Module):
    """Attention among tokens, of tokens to the image, a feed-forward layer, and attention of the image to the tokens.

    Args:
        first: The tokens are still their own code, so it is not added, and nothing is kept beside the attention.
    """

    def __init__(self, dim: int, heads: int, mlp: int, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = DownsampledAttention(dim, heads, 1)
        self.layer_norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = DownsampledAttention(dim, heads, DOWNSAMPLE)
        self.layer_norm2 = nn.LayerNorm(dim)
        self.mlp = TokenMlp(dim, mlp)
        self.layer_norm3 = nn.LayerNorm(dim)
        self.layer_norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = DownsampledAttention(dim, heads, DOWNSAMPLE)

    def forward(
        self,
        tokens: Float[Tensor, "b t c"],
        image: Float[Tensor, "b p c"],
        code: Float[Tensor, "b t c"],
        position: Float[Tensor, "#b p c"],
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b p c"]]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            coded = tokens + code
            tokens = tokens + self.self_attn(coded, coded, tokens)
        tokens = self.layer_norm1(tokens)
        placed = image + position
        tokens = self.layer_norm2(tokens + self.cross_attn_token_to_image(tokens + code, placed, image))
        tokens = self.layer_norm3(tokens + self.mlp(tokens))
        image = self.layer_norm4(image + self.cross_attn_image_to_token(placed, tokens + code, tokens))
        return tokens, image


class DownsampledAttention(nn.Module):
    """Attention in fewer channels than those of its inputs."""

    def __init__(self, dim: int, heads: int, downsample: int):
        super().__init__()
        inner = dim // downsample
        if inner % heads:
            raise ValueError(f"{heads} heads do not divide {inner} channels")
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, dim)

    def forward(
        self, query: Float[Tensor, "b q c"], key: Float[Tensor, "b k c"], value: Float[Tensor, "b k c"]
    ) -> Float[Tensor, "b q c"]:
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )
        return self.out_proj(nnf.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TokenMlp(nn.Module):
    """A feed-forward layer with one hidden layer."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        return self.lin2(nnf.relu(self.lin1(tokens)))


class HyperNetwork(nn.Module):
    """SAM's network of three layers from a mask token to the weights of its mask."""

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        # in transformers' order, by which a checkpoint has the optimiser's state
        self.proj_in = nn.Linear(dim, dim)
        self.proj_out = nn.Linear(dim, outputs)
        self.layers = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, token: Float[Tensor, "b c"]) -> Float[Tensor, "b c2"]:
        hidden = nnf.relu(self.layers[0](nnf.relu(self.proj_in(token))))
        return self.proj_out(hidden)
