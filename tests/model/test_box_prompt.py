"""Box Prompt Generator: Eq. 4 and Eq. 5 of Liang et al. 2024."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.model.box_prompt import BoxPromptGenerator, sine_of_boxes, sine_of_grid
from sautomed.model.boxes import xyxy_to_cxcywh

BOX = torch.tensor([[[0.2, 0.3, 0.5, 0.6], [0.5, 0.1, 0.9, 0.4], [0.0, 0.0, 0.0, 0.0]]])
SEEN = torch.tensor([[True, True, False]])


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return BoxPromptGenerator(classes=3, dim=32, layers=2, heads=4, feedforward=64)


@pytest.fixture
def memory():
    return torch.randn(1, 32, 6, 6, generator=torch.Generator().manual_seed(1))


def test_eq4_takes_the_previous_box_where_there_is_one_and_the_default_query_where_not(generator):
    torch.nn.init.normal_(generator.default_query)
    anchors = generator.anchors(BOX, SEEN)
    assert torch.allclose(anchors.sigmoid()[0, :2], xyxy_to_cxcywh(BOX)[0, :2], atol=1e-5)
    assert torch.equal(anchors[0, 2], generator.default_query[2])


def test_eq4_default_query_starts_from_the_mean_box(generator):
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.6]]).expand(3, 4)
    generator.set_default_boxes(boxes)
    assert torch.allclose(generator.default_query.sigmoid(), xyxy_to_cxcywh(boxes), atol=1e-5)


@given(st.floats(0, 1e-3), st.floats(0, 1))
def test_eq4_a_box_of_no_width_is_no_infinity(width, x):
    torch.manual_seed(0)
    generator = BoxPromptGenerator(classes=1, dim=32, layers=2, heads=4, feedforward=64)
    box = torch.tensor([[[x, 0.5, min(x + width, 1.0), 0.5]]])
    prompt = generator(torch.randn(1, 32, 4, 4), box, torch.tensor([[True]]))
    assert prompt.embedding.isfinite().all()
    assert prompt.boxes.isfinite().all()


def test_eq5_shapes(generator, memory):
    prompt = generator(memory, BOX, SEEN)
    assert prompt.embedding.shape == (1, 3, 32)
    assert prompt.boxes.shape == (2, 1, 3, 4)
    assert prompt.presence.shape == (1, 3)


def test_eq5_an_untrained_generator_answers_with_the_box_it_was_given(generator, memory):
    """The move is zero-initialised (DAB-DETR), so training starts from "the organ stays where it was"."""
    boxes = generator(memory, BOX, SEEN).boxes
    assert torch.allclose(boxes[-1, 0, :2], BOX[0, :2], atol=1e-5)


def test_eq5_each_class_has_its_own_answer_to_the_same_box(generator, memory):
    """SeEmbed of Eq. 4: the semantic token tells the queries apart."""
    prompt = generator(memory, BOX[:, :1].expand(1, 3, 4), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(prompt.embedding[0, 0], prompt.embedding[0, 1], atol=1e-3)


def test_eq5_the_prompt_depends_on_image_box_and_presence(generator, memory):
    base = generator(memory, BOX, SEEN).embedding
    assert not torch.allclose(base, generator(memory.flip(-1), BOX, SEEN).embedding, atol=1e-3)
    assert not torch.allclose(base, generator(memory, BOX.roll(1, 1), SEEN).embedding, atol=1e-3)
    assert not torch.allclose(base, generator(memory, BOX, ~SEEN).embedding, atol=1e-3)


def test_eq4_eq5_gradient_reaches_every_parameter(generator, memory):
    torch.nn.init.normal_(generator.move[-1].weight, std=0.1)
    prompt = generator(memory, BOX, SEEN)
    (prompt.embedding.square().sum() + prompt.boxes.sum() + prompt.presence.sum()).backward()
    silent = [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()]
    # a constant added to every key, or a key's part that no query tells apart, cancels in the softmax
    assert {name for name in silent if not name.endswith(("key.bias", "key_place.bias"))} == set()


def test_eq5_a_walker_is_not_moved_by_its_batch(generator, memory):
    two = torch.cat([memory, memory.flip(-1)])
    both = generator(two, BOX.expand(2, 3, 4), SEEN.expand(2, 3))
    alone = generator(memory, BOX, SEEN)
    assert torch.allclose(both.embedding[:1], alone.embedding, atol=1e-5)


def test_the_box_branch_stays_in_float32_under_autocast(generator, memory):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prompt = generator(memory.bfloat16(), BOX, SEEN)
    assert prompt.boxes.dtype == prompt.embedding.dtype == torch.float32


def test_queries_and_keys_speak_of_places_alike():
    """A query at the middle of a grid cell has that cell's code as its y and x half."""
    codes = sine_of_grid(4, 8, 32, torch.device("cpu"))
    query = sine_of_boxes(torch.tensor([(2 + 0.5) / 8, (1 + 0.5) / 4, 0.3, 0.3]), 32)
    assert torch.allclose(codes[1 * 8 + 2], query[:32], atol=1e-6)


def test_eq5_height_sharpens_the_view_along_y_and_width_along_x(generator, memory):
    """DAB-DETR: the y half of a query's place is scaled by h_ref / h, the x half by w_ref / w."""
    layer, seen = generator.layers[0], []
    layer.query_place.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    content, sine, reach = torch.zeros(1, 3, 32), torch.ones(1, 3, 32), torch.tensor([2.0, 7.0]).expand(1, 3, 2)
    layer(content, content, sine, reach, memory.flatten(2).transpose(1, 2), torch.zeros(36, 32))
    assert (seen[0][..., :16] == 7).all()  # reach is (w, h) as in a box; places are (y, x) as in a picture
    assert (seen[0][..., 16:] == 2).all()
