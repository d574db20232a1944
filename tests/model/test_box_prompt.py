"""Box Prompt Generator: Eq. 4 and Eq. 5 of Liang et al. 2024."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.model.box_prompt import BoxPromptGenerator, sine_of_boxes, sine_of_grid
from sautomed.model.boxes import xyxy_to_cxcywh
from sautomed.model.position_code import PositionCode
from sautomed.model.values import Seen

BOX = torch.tensor([[[0.2, 0.3, 0.5, 0.6], [0.5, 0.1, 0.9, 0.4], [0.0, 0.0, 0.0, 0.0]]])
SEEN = torch.tensor([[Seen.PRESENT, Seen.PRESENT, Seen.ABSENT]])
EVERYWHERE = torch.full((1, 3), Seen.PRESENT)


class Generator(BoxPromptGenerator):
    """A generator with a decoder's position code of its own."""

    def __init__(self, classes=3):
        torch.manual_seed(0)
        super().__init__(classes=classes, dim=32, stride=8, layers=2, heads=4, feedforward=64)
        self.position = PositionCode(32)

    def forward(self, memory, boxes, seen):
        return super().forward(memory, boxes, seen, self.position)


@pytest.fixture
def generator():
    return Generator()


def difference(one, other):
    """Return how far two embeddings lie apart, in units of their length."""
    return ((one - other).norm() / one.norm()).item()


@pytest.fixture
def memory():
    return torch.randn(1, 32, 6, 6, generator=torch.Generator().manual_seed(1))


def test_eq4_takes_the_previous_box_and_the_default_query_where_nothing_is_known(generator):
    torch.nn.init.normal_(generator.default_query)
    torch.nn.init.normal_(generator.absent_query)
    anchors = generator.anchors(BOX, torch.tensor([[Seen.PRESENT, Seen.UNKNOWN, Seen.ABSENT]]))
    assert torch.allclose(anchors.sigmoid()[0, 0], xyxy_to_cxcywh(BOX)[0, 0], atol=1e-5)
    assert torch.equal(anchors[0, 1], generator.default_query[1])
    assert torch.equal(anchors[0, 2], generator.absent_query[2])


def test_eq4_learned_queries_start_from_the_mean_box(generator):
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.6]]).expand(3, 4)
    generator.set_default_boxes(boxes)
    for query in (generator.default_query, generator.absent_query):
        assert torch.allclose(query.sigmoid(), xyxy_to_cxcywh(boxes), atol=1e-5)


def test_eq4_unknown_absent_and_present_are_three_states(generator, memory):
    """Even where all three have the same anchor, as before training."""
    middle = torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(1, 3, 4)
    generator.set_default_boxes(middle[0])
    found = [generator(memory, middle, torch.full((1, 3), seen)).embedding for seen in Seen]
    for one, other in itertools.combinations(found, 2):
        assert difference(one, other) > 0.05


@given(st.floats(0, 1e-3), st.floats(0, 1))
def test_eq4_a_box_of_no_width_is_no_infinity(width, x):
    box = torch.tensor([[[x, 0.5, min(x + width, 1.0), 0.5]]])
    prompt = Generator(classes=1)(torch.randn(1, 32, 4, 4), box, torch.tensor([[Seen.PRESENT]]))
    assert prompt.embedding.isfinite().all()
    assert prompt.boxes.isfinite().all()


def test_eq5_shapes(generator, memory):
    prompt = generator(memory, BOX, SEEN)
    assert prompt.embedding.shape == (1, 6, 32)
    assert prompt.code.shape == (3, 32)
    assert prompt.boxes.shape == (2, 1, 3, 4)
    assert prompt.presence.shape == (1, 3)


def test_eq5_an_untrained_generator_answers_with_the_box_it_was_given(generator, memory):
    """The move is zero-initialised (DAB-DETR), so training starts from "the organ stays where it was"."""
    boxes = generator(memory, BOX, SEEN).boxes
    assert torch.allclose(boxes[-1, 0, :2], BOX[0, :2], atol=1e-5)


def test_eq5_each_class_has_its_own_answer_to_the_same_box(generator, memory):
    """SeEmbed of Eq. 4: the semantic token tells the queries apart."""
    corners = generator(memory, BOX[:, :1].expand(1, 3, 4), EVERYWHERE).embedding.unflatten(1, (3, 2))
    assert difference(corners[:, 0], corners[:, 1]) > 0.5
    generator.semantic.data.zero_()
    corners = generator(memory, BOX[:, :1].expand(1, 3, 4), EVERYWHERE).embedding.unflatten(1, (3, 2))
    torch.testing.assert_close(corners[:, 0], corners[:, 1])  # nothing else tells them apart


def test_eq5_the_prompt_depends_on_image_box_and_what_was_seen(generator, memory):
    base = generator(memory, BOX, SEEN).embedding
    assert not torch.allclose(base, generator(memory.flip(-1), BOX, SEEN).embedding, atol=1e-3)
    assert not torch.allclose(base, generator(memory, BOX.roll(1, 1), SEEN).embedding, atol=1e-3)
    assert not torch.allclose(base, generator(memory, BOX, SEEN.flip(1)).embedding, atol=1e-3)


def test_eq5_boxes_in_opposite_corners_are_other_prompts_whatever_the_image(generator):
    """Content without place would be the same everywhere in a constant image."""
    constant = torch.ones(1, 32, 6, 6)
    low, high = (torch.tensor(box).expand(1, 3, 4) for box in ([0.05, 0.05, 0.3, 0.3], [0.7, 0.7, 0.95, 0.95]))
    one, other = (generator(constant, boxes, EVERYWHERE).embedding for boxes in (low, high))
    assert difference(one, other) > 0.3


def test_eq5_the_mask_has_a_gradient_to_the_predicted_box(generator, memory):
    prompt = generator(memory, BOX, SEEN)
    prompt.boxes.retain_grad()
    prompt.embedding.square().sum().backward()
    assert (prompt.boxes.grad[-1].abs() > 1e-6).all()
    assert not prompt.boxes.grad[:-1].any()  # of the last layer alone, which moves all that came before
    assert generator.move[-1].weight.grad.abs().sum() > 0


def test_eq5_the_code_of_a_class_is_in_both_of_its_prompts(generator, memory):
    before = generator(memory, BOX, SEEN)
    generator.corners.content.weight.data.zero_()
    base = generator(memory, BOX, SEEN)
    generator.code_gain.data.fill_(3.0)
    more = generator(memory, BOX, SEEN)
    assert torch.equal(before.code, generator.semantic)
    torch.testing.assert_close(more.embedding - base.embedding, (2 * generator.semantic)[None].repeat_interleave(2, 1))
    torch.testing.assert_close(more.code, 3 * generator.semantic)


def test_eq4_eq5_gradient_reaches_every_parameter(generator, memory):
    torch.nn.init.normal_(generator.move[-1].weight, std=0.1)
    prompt = generator(memory, BOX, torch.tensor([[Seen.PRESENT, Seen.UNKNOWN, Seen.ABSENT]]))
    (prompt.embedding.square().sum() + prompt.boxes.sum() + prompt.presence.sum()).backward()
    trained = [(name, p) for name, p in generator.named_parameters() if p.requires_grad]
    silent = [name for name, p in trained if p.grad is None or not p.grad.any()]
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
