"""3D-SAutoMed on SAM's weights: what reaches the loaded decoder is what SAM's own prompt encoder would send it."""

from dataclasses import replace

import pytest
import torch

from sautomed.config import ModelSettings
from sautomed.model.build import build
from sautomed.model.given import GivenPrompts
from sautomed.model.mask_decoder import MaskDecoder
from sautomed.model.sam.network import Sam, load_sam
from sautomed.model.sautomed import SAutoMed
from sautomed.model.values import Seen

from .sam.official_layout import noise, write_official

SIZE = 128
BOX = torch.tensor([[[16.0, 24.0, 80.0, 100.0]]])  # edges of pixels


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


@pytest.fixture(scope="module")
def sam(weights) -> Sam:
    return load_sam(weights, SIZE)


@pytest.fixture
def make(weights):
    def make(classes: int = 1, **parts: bool) -> SAutoMed:
        torch.manual_seed(0)
        return build(ModelSettings(trunk={"weights": str(weights)}, **parts), classes, SIZE).eval()

    return make


def images() -> torch.Tensor:
    return noise(3 * SIZE * SIZE, 9).reshape(1, 3, SIZE, SIZE).abs()


def features_of(model):
    f = model.encode(images())
    return model.share(f, f, f)


def tokens_to(decoder, call):
    """Return the tokens that reach the decoder's transformer while `call` runs, and its result."""
    seen = []
    hook = decoder.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    result = call()
    hook.remove()
    return seen[0], result


def in_sams_pixels(boxes):
    """Convert from fractions between the edges of pixels to the centres of pixels."""
    return boxes * SIZE - boxes.new_tensor([0.0, 0.0, 1.0, 1.0])


@torch.no_grad()
def test_prompts_that_reach_the_decoder_are_sams_of_the_predicted_box_plus_the_code(make, sam):
    model = make(classes=2)
    torch.nn.init.normal_(model.generator.move[-1].weight, std=0.05)  # so that the predicted box is another one
    boxes = torch.cat([BOX / SIZE, BOX.flip(1) / SIZE - 0.1], 1)
    state = replace(model.start(1), boxes=boxes, seen=torch.tensor([[Seen.PRESENT, Seen.UNKNOWN]]))
    tokens, out = tokens_to(model.decoder, lambda: model.step(features_of(model), state))
    predicted = out.boxes[-1]
    assert (predicted - boxes).abs().max() > 0.01
    code = model.generator.code
    expected = sam.encode_boxes(in_sams_pixels(predicted))[0] + code[:, None]
    torch.testing.assert_close(tokens[:, -4:].unflatten(1, (2, 2)), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(tokens[0, 1:4], model.decoder.mask_tokens + torch.cat([code.new_zeros(1, 256), code]))


@torch.no_grad()
def test_a_given_box_reaches_the_decoder_as_sams_prompt_as_it_is(make, sam):
    model = make()
    model.generator.code_gain.zero_()
    torch.nn.init.normal_(model.generator.move[-1].weight, std=0.05)
    given = GivenPrompts.nothing(1, (32, 32)).here(0, BOX[0, 0] / SIZE)
    tokens, _ = tokens_to(model.decoder, lambda: model.step(features_of(model), model.start(1), given))
    expected = sam.encode_boxes(in_sams_pixels(BOX / SIZE))[0]
    torch.testing.assert_close(tokens[:, -2:], expected[:, 0], rtol=0, atol=1e-4)


def with_all_of_sams_masks(sam) -> MaskDecoder:
    """Return our decoder with SAM's four mask tokens and heads, as if they were classes."""
    decoder = MaskDecoder(3, 256, 8, 2048, (64, 32))
    decoder.start_from(sam.decoder, sam.prompt.no_mask_embed.weight)
    decoder.mask_tokens.copy_(sam.decoder.mask_tokens.weight)
    decoder.hypernetworks.load_state_dict(sam.decoder.output_hypernetworks_mlps.state_dict())
    return decoder.eval()


@torch.no_grad()
def masks_in_the_box(model, decoder):
    z = features_of(model).z
    prompt = model.generator(z, BOX / SIZE, torch.tensor([[Seen.PRESENT]]), model.position)
    position = model.position.dense(*z.shape[-2:])
    return decoder(z, (), position, model.history.start(1), prompt.embedding, prompt.code)[0]


@torch.no_grad()
def test_without_code_history_and_neighbours_the_masks_are_sams_for_the_box(make, sam):
    model = make(local_3d=False, global_3d=False)
    model.generator.code_gain.zero_()
    pixels = model.trunk.normalise(images())
    expected, _ = sam.decode(sam.encode_image(pixels), *sam.encode_boxes(in_sams_pixels(BOX / SIZE)))
    found = masks_in_the_box(model, with_all_of_sams_masks(sam))
    torch.testing.assert_close(found, expected[:, 0], rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_code_starts_so_small_that_the_masks_are_nearly_sams(make, sam):
    model, decoder = make(local_3d=False, global_3d=False), with_all_of_sams_masks(sam)
    with_code = masks_in_the_box(model, decoder)
    model.generator.code_gain.zero_()
    base = masks_in_the_box(model, decoder)
    moved = (with_code - base).norm() / (base - base.mean()).norm()
    assert 0 < moved < 0.1


def test_the_neighbours_are_silent_before_a_loaded_decoder(make):
    model = make()
    f = model.encode(images())
    assert torch.equal(model.share(f, f, f).z, f.coarse)


@torch.no_grad()
def test_every_class_starts_near_sams_first_mask_token_but_not_on_it(make, sam):
    model = make(classes=3)
    first = sam.decoder.mask_tokens.weight[:1]
    cosine = torch.nn.functional.cosine_similarity(model.decoder.mask_tokens, first)
    assert (cosine > 0.98).all()
    assert (cosine < 0.999).all()
