"""Prompts of the decoder: SAM's tokens for the box of each class, the generator's hidden state and the class code."""

import pytest
import torch

from sautomed.model.corner_tokens import CornerTokens
from sautomed.model.position_code import PositionCode
from sautomed.model.sam.network import Sam, load_sam

from .sam.official_layout import write_official

SIZE = 128


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> Sam:
    return load_sam(write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth"), SIZE)


@pytest.fixture
def tokens(sam):
    torch.manual_seed(0)
    corners = CornerTokens(256, stride=16)
    corners.start_from(sam)
    return corners


BOXES = torch.tensor([[[8.0, 16.0, 40.0, 100.0], [0.0, 0.0, 128.0, 128.0], [60.0, 61.0, 61.0, 62.0]]])


def position_of(sam):
    code = PositionCode(256)
    code.load_state_dict(sam.prompt.shared_embedding.state_dict())
    return code


def of(tokens, sam, boxes, hidden, code):
    return tokens(boxes, hidden, code, (SIZE // 16, SIZE // 16), position_of(sam))


def test_they_are_sams_for_the_same_box(tokens, sam):
    """Our boxes end at the outer edges of pixels, SAM's at the centres of the same pixels."""
    hidden, code = torch.randn(1, 3, 256), torch.zeros(3, 256)
    expected, _ = sam.encode_boxes(BOXES - torch.tensor([0.0, 0.0, 1.0, 1.0]))
    found = of(tokens, sam, BOXES / SIZE, hidden, code)
    torch.testing.assert_close(found.unflatten(1, (3, 2)), expected, rtol=0, atol=1e-4)


def test_code_and_hidden_state_are_added_to_both_corners(tokens, sam):
    torch.nn.init.normal_(tokens.content.weight, std=0.1)
    hidden, code = torch.randn(1, 3, 256), torch.randn(3, 256)
    base = of(tokens, sam, BOXES / SIZE, torch.zeros_like(hidden), torch.zeros_like(code)).unflatten(1, (3, 2))
    found = of(tokens, sam, BOXES / SIZE, hidden, code).unflatten(1, (3, 2))
    more = (tokens.content(hidden) + code)[:, :, None].expand(-1, -1, 2, -1)
    torch.testing.assert_close(found - base, more, rtol=1e-4, atol=1e-4)


def test_pixels_of_slices_that_are_not_square_have_two_sides(sam):
    torch.manual_seed(0)
    corners = CornerTokens(256, stride=16)
    box = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    found = corners(box, torch.zeros(1, 1, 256), torch.zeros(1, 256), (4, 8), position_of(sam))
    centres = torch.tensor([[[0.5 / 128, 0.5 / 64], [1 - 0.5 / 128, 1 - 0.5 / 64]]])
    torch.testing.assert_close(found, sam.prompt.shared_embedding(centres) + corners.kinds)
