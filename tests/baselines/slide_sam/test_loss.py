"""Slide-SAM's examples and loss: prompts of the drawn organ, and the loss of the best hypothesis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.baselines.slide_sam.loss import (
    MOST_NOISE,
    Drawn,
    add_noise,
    draw_examples,
    hypothesis_losses,
    mean_error,
    prompt_losses,
    random_pixels,
)

SIDE = 40


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def two_organs():
    labels = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.long)
    labels[:, :, 5:15, 5:25] = 1
    labels[:, :2, 30:36, 2:8] = 2
    return labels


# --- examples ---


@given(st.integers(0, 2**20))
@settings(max_examples=25, deadline=None)
def test_the_point_is_inside_the_organ_and_the_box_around_it(seed):
    drawn = draw_examples(two_organs(), 3, 0.0, generator(seed))
    assert drawn.shown.all()
    middle = drawn.truth[0, 1]
    x, y = (drawn.points[0] * SIDE).floor().int().tolist()
    assert middle[y, x] == 1
    rows, columns = middle.any(1).nonzero(), middle.any(0).nonzero()
    tight = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / SIDE
    moved = drawn.boxes[0] - tight
    torch.testing.assert_close(moved[:2], moved[2:], rtol=0, atol=1e-5)  # as a whole
    assert moved.abs().max() <= 0.05


def test_organs_are_drawn_equally_often_and_the_seed_decides():
    labels = two_organs().expand(200, -1, -1, -1)
    drawn = draw_examples(labels, 2, 0.0, generator(1))
    share = (drawn.truth[:, 1, 31, 3] > 0).float().mean()
    assert 0.35 < share < 0.65
    again = draw_examples(labels, 2, 0.0, generator(1))
    for name in ("truth", "points", "boxes"):
        assert torch.equal(getattr(drawn, name), getattr(again, name))
    assert not torch.equal(drawn.points, draw_examples(labels, 2, 0.0, generator(2)).points)


def test_organs_that_are_too_small_or_only_in_a_neighbour_are_not_drawn():
    labels = two_organs()
    part = 36 / SIDE**2  # of the second
    assert (draw_examples(labels.expand(50, -1, -1, -1), 2, part, generator()).truth[:, 1, 31, 3] == 0).all()
    labels[:, 1] = 0
    assert not draw_examples(labels, 2, 0.0, generator()).shown.any()


def test_every_pixel_of_a_mask_may_be_the_point():
    mask = torch.zeros(1, 4, 5, dtype=torch.bool)
    mask[0, 1, 2:4] = mask[0, 3, 4] = True
    points = random_pixels(mask.expand(300, -1, -1), generator())
    found = {(round(x * 5 - 0.5), round(y * 4 - 0.5)) for x, y in points.tolist()}
    assert found == {(2, 1), (3, 1), (4, 3)}


def test_a_box_moves_by_a_hundredth_of_its_side_up_to_the_limit():
    box = torch.tensor([0.3, 0.3, 0.5, 0.7]).expand(4000, 4)
    moved = add_noise(box, generator()) - box
    assert moved.std(0).sub(0.003).abs().max() < 3e-4
    large = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(4000, 1) * 50  # clamped to the slice in the end
    assert (add_noise(large / 100 + 0.25, generator()) - (large / 100 + 0.25)).abs().max() <= MOST_NOISE + 1e-6


# --- the loss ---


def plain_loss(logits, iou, truth):
    """Compute focal loss, Dice loss and squared IoU error of one row's best hypothesis, step by step."""
    rows = []
    for masks, predicted in zip(logits.double(), iou.double(), strict=True):
        p = masks.sigmoid()
        entropy = -(truth * p.log() + (1 - truth) * (1 - p).log())
        right = truth * p + (1 - truth) * (1 - p)
        focal = (0.2 * (1 - right) ** 2 * entropy).mean()
        dice = sum(
            1 - (2 * (a * b).sum() + 1e-5) / (a.sum() + b.sum() + 1e-5) for a, b in zip(p, truth, strict=True)
        ) / 3  # fmt: skip
        found = masks > 0
        real = truth > 0
        error = (predicted - (found & real).sum() / (found | real).sum()) ** 2
        rows.append((focal, dice, error))
    return min(rows, key=lambda row: 20 * row[0] + row[1])


@given(st.integers(0, 2**20))
@settings(max_examples=15, deadline=None)
def test_the_loss_equals_that_of_the_best_hypothesis(seed):
    g = generator(seed)
    logits, iou = 3 * torch.randn(2, 3, 3, 6, 6, generator=g), torch.rand(2, 3, generator=g)
    truth = (torch.rand(2, 3, 6, 6, generator=g) > 0.6).float()
    found = hypothesis_losses(logits, iou, truth)
    for row in range(2):
        for part, wanted in zip(found, plain_loss(logits[row], iou[row], truth[row].double()), strict=True):
            assert part[row].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_only_the_best_hypothesis_is_trained():
    truth = torch.zeros(1, 3, 8, 8)
    truth[..., :4] = 1
    logits = torch.stack([4 * (2 * truth - 1), -4 * (2 * truth - 1), torch.zeros_like(truth)], 1).requires_grad_()
    iou = torch.full((1, 3), 0.5, requires_grad=True)
    focal, dice, error = hypothesis_losses(logits, iou, truth)
    (focal + dice + error).sum().backward()
    assert error.item() == pytest.approx(0.25)  # its masks are the truth's
    assert [bool(logits.grad[0, i].any()) for i in range(3)] == [True, False, False]
    assert iou.grad[0].tolist() == [-1, 0, 0]


def test_losses_of_point_and_box_are_added_and_rows_without_an_organ_do_not_count():
    g = generator(5)
    masks, iou = torch.randn(4, 3, 3, 8, 8, generator=g), torch.rand(4, 3, generator=g)
    truth = (torch.rand(2, 3, 8, 8, generator=g) > 0.5).float()
    nothing = torch.zeros(2, 4)
    both = prompt_losses(masks, iou, Drawn(truth, torch.tensor([True, True]), nothing[:, :2], nothing))
    one = prompt_losses(masks, iou, Drawn(truth, torch.tensor([True, False]), nothing[:, :2], nothing))
    rows = [part.view(2, 2).sum(0) for part in hypothesis_losses(masks, iou, truth.repeat(2, 1, 1, 1))]
    for losses, value in ((both, lambda r: r.mean()), (one, lambda r: r[0])):
        parts = [value(r) for r in rows]
        for name, part in zip(("focal", "dice", "iou"), parts, strict=True):
            torch.testing.assert_close(losses[name], part)
        torch.testing.assert_close(losses["loss"], 20 * parts[0] + parts[1] + parts[2])


def test_losses_are_computed_at_the_resolution_of_the_labels():
    truth = torch.zeros(1, 3, 32, 32)
    truth[:, :, 8:16] = 1
    small = 8 * (2 * truth[:, None, :, ::4, ::4] - 1).expand(-1, 3, -1, -1, -1)
    _, dice, _ = hypothesis_losses(small, torch.ones(1, 3), truth)
    assert dice.item() < 0.1


def test_the_iou_of_all_hypotheses_may_be_trained():
    truth = torch.zeros(1, 3, 8, 8)
    truth[..., :4] = 1
    logits = torch.stack([4 * (2 * truth - 1), -4 * (2 * truth - 1), 4 * torch.ones_like(truth)], 1)
    iou = torch.tensor([[1.0, 0.6, 0.5]], requires_grad=True)  # they reach 1, 0 and 0.5
    _, _, error = hypothesis_losses(logits, iou, truth, mean_error)
    assert error.item() == pytest.approx(0.36 / 3)
    error.sum().backward()
    assert iou.grad[0].tolist() == pytest.approx([0, 0.4, 0])
