"""SAM as its authors published it: image encoder, prompt encoder and mask decoder (Kirillov et al. 2023).

The parts are those of `transformers`; with weights in the official layout they give the official implementation's
numbers. Unlike that implementation this one takes batches of images, each with any number of boxes.

    sam = load_sam("sam_vit_b_01ec64.pth", image_size=1024)
    features = sam.encode_image(pixels)                   # (b 3 1024 1024), normalised -> (b 256 64 64)
    sparse, dense = sam.encode_boxes(boxes)               # (b n 4) -> (b n 2 256), (b n 256 64 64)
    masks, iou = sam.decode(features, sparse, dense)      # -> (b n 4 256 256), (b n 4)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPositionalEmbedding

from sautomed.model.position_code import centres
from sautomed.model.sam.keys import SIZES, SamSize, SamSizes, check_image_size
from sautomed.model.sam.parts import encode, make_decoder, make_prompt, make_vision
from sautomed.model.sam.weights import InputNorm, SamWeights, read_sam_weights

_PARTS = {"vision": "vision_encoder", "prompt": "prompt_encoder", "decoder": "mask_decoder"}  # ours: transformers'


class Sam(nn.Module):
    """The three parts, for square images of one size.

    Args:
        sizes: Of the image encoder; the other parts are the same in every SAM.
        image_size: Side of the images in pixels.
        input_norm: How images must be scaled before `encode_image`; kept for callers, not applied here.
    Raises:
        UnknownSetting: The size is not a multiple of 16 from 128 to 1024.
    """

    def __init__(self, sizes: SamSizes, image_size: int, input_norm: InputNorm = "sam"):
        super().__init__()
        check_image_size(image_size)
        self.sizes, self.image_size, self.input_norm = sizes, image_size, input_norm
        self.vision = make_vision(sizes, image_size)
        self.prompt = make_prompt(sizes, image_size)
        self.decoder = make_decoder()

    @classmethod
    def from_weights(cls, weights: SamWeights, image_size: int) -> Sam:
        """Build a SAM with these weights, in evaluation mode, its position tables resized to the image size."""
        sam = cls.empty(weights.sizes, image_size, weights.input_norm)
        state = weights.at(image_size)
        for ours, theirs in _PARTS.items():
            part = {key.removeprefix(f"{theirs}."): value for key, value in state.items() if key.startswith(theirs)}
            getattr(sam, ours).load_state_dict(part)
        return sam

    @classmethod
    def empty(cls, sizes: SamSizes, image_size: int, input_norm: InputNorm) -> Sam:
        """Build a SAM with uninitialised weights, in evaluation mode.

        Drawing random numbers only to overwrite them takes longer than reading weights.
        """
        with torch.device("meta"):
            sam = cls(sizes, image_size, input_norm)
        return sam.to_empty(device="cpu").eval()

    def encode_image(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 256 h w"]:
        """Return features of images that are scaled as `input_norm` says; h = w = s / 16.

        Raises:
            ValueError: The images are of another size than this SAM.
        """
        return encode(self.vision, pixels)

    def encode_boxes(
        self, boxes: Float[Tensor, "b n 4"]
    ) -> tuple[Float[Tensor, "b n 2 256"], Float[Tensor, "b n 256 h w"]]:
        """Return a prompt for each box, xyxy in pixels of the image.

        Returns:
            The embedded corners, and the embedding of "no mask" at every place (a view that takes no memory).
        """
        sparse, no_mask = self.prompt(input_points=None, input_labels=None, input_boxes=boxes, input_masks=None)
        return sparse, no_mask[:, None].expand(-1, boxes.shape[1], -1, -1, -1)

    def image_position(self) -> Float[Tensor, "1 256 h w"]:
        """Return SAM's position encoding of every place of the features."""
        side = self.image_size // self.vision.config.patch_size
        return dense_position(self.prompt.shared_embedding, side, side)

    def decode(
        self,
        features: Float[Tensor, "b 256 h w"],
        sparse: Float[Tensor, "b n p 256"],
        dense: Float[Tensor, "b n 256 h w"],
    ) -> tuple[Float[Tensor, "b n 4 4*h 4*w"], Float[Tensor, "b n 4"]]:
        """Return masks (logits) and their predicted IoU for every prompt.

        Returns:
            All four of SAM's masks in its order: the first is its answer where one mask is wanted, the others are
            its whole, part and subpart where the prompt is ambiguous.
        """
        return decode_masks(self.decoder, self.image_position(), features, sparse, dense)


def decode_masks(
    decoder: SamMaskDecoder,
    position: Float[Tensor, "1 256 h w"],
    features: Float[Tensor, "b 256 h w"],
    sparse: Float[Tensor, "b n p 256"],
    dense: Float[Tensor, "#b #n 256 #h #w"],
) -> tuple[Float[Tensor, "b n m 4*h 4*w"], Float[Tensor, "b n m"]]:
    """Decode like `Sam.decode`, with a mask decoder of any number of mask tokens.

    `dense` is broadcast, but over several prompts only if there is one image.
    """
    (b, n), (c, h, w) = sparse.shape[:2], features.shape[1:]
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens, image = decoder.transformer(
        point_embeddings=torch.cat([output.expand(b, n, -1, -1), sparse], dim=2).flatten(0, 1)[:, None],
        image_embeddings=(features[:, None] + dense).flatten(0, 1),
        image_positional_embeddings=position.expand(b * n, -1, -1, -1),
        attention_similarity=None,
    )
    iou_token, mask_tokens = tokens[:, 0, 0], tokens[:, 0, 1 : len(output)]
    fine = _upscale(decoder, image.transpose(-1, -2).reshape(b * n, c, h, w))
    weights = torch.stack([net(mask_tokens[:, i]) for i, net in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    masks = (weights @ fine.flatten(2)).reshape(b, n, -1, *fine.shape[-2:])
    return masks, decoder.iou_prediction_head(iou_token).reshape(b, n, -1)


def _upscale(decoder: SamMaskDecoder, image: Float[Tensor, "b 256 h w"]) -> Float[Tensor, "b 32 4*h 4*w"]:
    twice = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image)))
    return decoder.activation(decoder.upscale_conv2(twice))


def load_sam(source: str | Path, image_size: int = 1024, input_norm: Literal["auto", "sam", "medsam"] = "auto") -> Sam:
    """Load a SAM or MedSAM from a file, a folder or the hub, in evaluation mode.

    Args:
        source: As `read_sam_weights` takes it.
        image_size: Side of the square images in pixels: a multiple of 16 from 128 to 1024.
        input_norm: As `read_sam_weights` takes it.
    Raises:
        UnknownSetting: SAM cannot take images of this size.
        ModelError: The weights cannot be used; see `read_sam_weights`.
    """
    check_image_size(image_size)
    return Sam.from_weights(read_sam_weights(source, input_norm), image_size)


def build_sam(size: SamSize | SamSizes, image_size: int = 1024) -> Sam:
    """Build a SAM with random weights, in evaluation mode: for tests, benchmarks and training from scratch.

    Unlike SAM before its training, position tables are not zero, so that they too show in the output.
    """
    sam = Sam.empty(SIZES[size] if isinstance(size, str) else size, image_size, "sam")
    for module in sam.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.LayerNorm | nn.Embedding):
            module.reset_parameters()
            continue
        spread = 1.0 if isinstance(module, SamPositionalEmbedding) else 0.02
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, std=spread)
    return sam


def dense_position(embedding: SamPositionalEmbedding, h: int, w: int) -> Float[Tensor, "1 c {h} {w}"]:
    """Return the Fourier features of the centre of every place of an h x w grid that spans the image."""
    return embedding(centres(h, w, embedding.positional_embedding)).permute(2, 0, 1)[None]
