"""Losses of pixels, boxes and presence, and how a run weighs them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.config import TrainSettings
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.given import GivenPrompts, gate
from sautomed.model.losses import box_loss, dice_loss, presence_loss, stack_losses, walk_losses
from sautomed.model.values import SliceState, StepOutput

from .examples import make_run

NO_STATE = SliceState.unknown(torch.zeros(2, 0, 1), 2)


def sure(labels, classes):
    """Log-probabilities that leave no doubt."""
    return (60.0 * nnf.one_hot(labels, classes).movedim(-1, 1).float()).log_softmax(1)


def test_dice_of_the_truth_is_zero_and_of_its_opposite_one():
    labels = torch.tensor([[[0, 0, 1, 1]]])
    assert dice_loss(sure(labels, 2), labels).item() == pytest.approx(0, abs=1e-4)
    assert dice_loss(sure(1 - labels, 2), labels).item() == pytest.approx(1, abs=1e-4)


def test_a_class_that_is_nowhere_does_not_count():
    labels = torch.tensor([[[0, 0, 1, 1]]])
    found = torch.tensor([[[0, 2, 1, 1]]])  # one pixel is given to a class that is not there
    # class 0: 2 * 1 / (1 + 2), class 1: 1; class 2 and those that nobody names are left out
    assert dice_loss(sure(found, 5), labels).item() == pytest.approx(1 - (2 / 3 + 1) / 2, abs=1e-4)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), classes=st.integers(1, 5), h=st.integers(1, 9), w=st.integers(1, 9))
def test_dice_is_that_of_a_mask_for_each_class(seed, classes, h, w):
    generator = torch.Generator().manual_seed(seed)
    log_probability = torch.randn(2, classes, h, w, generator=generator).log_softmax(1)
    labels = torch.randint(classes, (2, h, w), generator=generator)
    found, true = log_probability.exp(), nnf.one_hot(labels, classes).movedim(-1, 1).float()
    shared, total = ((a * b).sum((0, 2, 3)) for a, b in ((2 * found, true), (1, found**2 + true)))
    expected = 1 - (shared / total)[true.sum((0, 2, 3)) > 0].mean()
    torch.testing.assert_close(dice_loss(log_probability, labels), expected, atol=1e-4, rtol=0)


def test_dice_of_many_pixels_loses_none_of_them():
    """One sum in float32 would stop near 16.8 million."""
    labels = torch.zeros(2, 3000, 3000, dtype=torch.long)
    assert dice_loss(torch.zeros(2, 1, 3000, 3000), labels).item() == pytest.approx(0, abs=1e-6)


def test_dice_is_over_the_batch_not_over_its_slices():
    labels = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    found = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
    # class 1: 2 * 4 / (5 + 4), class 0: 2 * 3 / (3 + 4)
    assert dice_loss(sure(found, 2), labels).item() == pytest.approx(1 - (8 / 9 + 6 / 7) / 2, abs=1e-4)


def test_the_loss_sees_the_logits_before_given_prompts_are_enforced():
    """Enforced ones have no gradient outside a box, where a network has to learn that its prompt counts."""
    labels = torch.zeros(2, 1, 8, 8, dtype=torch.long)
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    given = GivenPrompts.nothing(2, (8, 8)).here(0, torch.tensor([0.0, 0.0, 0.5, 0.5]))
    enforced = gate(logits, GivenPrompts.cat([given, given]))
    walk_losses([StepOutput(enforced, NO_STATE, ungated=logits)], labels, TrainSettings())["loss"].backward()
    assert (logits.grad[:, 1, 4:, 4:] != 0).all()
    plain = walk_losses([StepOutput(logits, NO_STATE)], labels, TrainSettings())
    ungated = walk_losses([StepOutput(enforced, NO_STATE, ungated=logits)], labels, TrainSettings())
    assert plain["loss"] == ungated["loss"]


def test_only_boxes_that_are_there_count():
    truth = torch.tensor([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]]])
    found = torch.stack([truth, truth])
    found[:, :, 1] = 0.0
    assert box_loss(found, truth, torch.tensor([[True, False]])).item() == pytest.approx(0, abs=1e-6)
    assert box_loss(found, truth, torch.tensor([[True, True]])).item() > 1


def test_a_box_costs_five_times_its_distance_and_twice_its_lack_of_giou():
    """Moved by half its width: L1 distance 0.2 + 0.2; IoU 1/3 and no hull beyond the union, so GIoU is 1/3."""
    truth, found = torch.tensor([[[0.0, 0.0, 0.4, 1.0]]]), torch.tensor([[[[0.2, 0.0, 0.6, 1.0]]]])
    loss = box_loss(found, truth, torch.tensor([[True]]))
    assert loss.item() == pytest.approx(5 * 0.4 + 2 * (1 - 1 / 3), abs=1e-5)


def test_no_box_at_all_is_a_loss_of_zero_with_a_gradient():
    boxes = torch.rand(2, 1, 2, 4, requires_grad=True)
    loss = box_loss(boxes, torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert boxes.grad is not None


def test_presence_is_a_plain_cross_entropy():
    loss = presence_loss(torch.tensor([[0.0, 50.0]]), torch.tensor([[True, True]]))
    assert loss.item() == pytest.approx(0.6931 / 2, abs=1e-3)


def test_dice_over_all_classes_counts_an_absent_one_as_lost():
    """As the code of SAMed, MA-SAM and TransUNet: whatever probability an absent class has is a loss of nearly 1."""
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    logits = torch.zeros(1, 3, 8, 8)
    logits[:, 0] = 4.0
    shown, every = (dice_loss(logits.log_softmax(1), labels, over) for over in ("shown", "all"))
    assert shown < 0.1
    assert every == pytest.approx((float(shown) + 2.0) / 3, abs=1e-3)


# --- of a run ---


def outputs_and_labels(slices=3):
    generator = torch.Generator().manual_seed(4)
    labels = make_run(slices=slices).labels
    outputs = []
    for _ in range(slices):
        corner = 0.5 * torch.rand(2, 2, 2, 2, generator=generator)
        boxes = torch.cat([corner, corner + 0.3], -1)
        logits = torch.randn(2, 3, 64, 64, generator=generator)
        outputs.append(StepOutput(logits, NO_STATE, boxes, torch.randn(2, 2, generator=generator)))
    return outputs, labels


def test_the_target_counts_one_and_earlier_slices_their_weight(small_settings):
    outputs, labels = outputs_and_labels()
    whole = walk_losses(outputs, labels, small_settings.train.model_copy(update={"earlier_weight": 0.25}))
    single = [walk_losses([out], labels[:, t : t + 1], small_settings.train) for t, out in enumerate(outputs)]
    for name in ("loss", "ce", "dice", "box", "presence"):
        values = [losses[name] for losses in single]
        expected = (0.25 * values[0] + 0.25 * values[1] + values[2]) / 1.5
        torch.testing.assert_close(whole[name], expected, rtol=1e-5, atol=1e-6)


def test_presence_is_of_the_image_where_prompts_ask_for_other_masks(small_settings):
    """A prompt can take an organ out of the target; whether it is in the slice stays a question about the image."""
    outputs, shown = outputs_and_labels(slices=2)
    removed = torch.where(shown == 1, 0, shown)
    asked, plain = (walk_losses(outputs, x, small_settings.train) for x in (removed, shown))
    both = walk_losses(outputs, removed, small_settings.train, shown)
    assert asked["presence"] != plain["presence"]
    assert both["presence"] == plain["presence"]
    for name in ("ce", "dice", "box"):
        assert both[name] == asked[name]


def test_a_prompt_head_is_held_to_what_prompts_ask_for_and_the_logits_before_it_to_the_image(small_settings):
    outputs, shown = outputs_and_labels(slices=1)
    removed = torch.where(shown == 1, 0, shown)
    before = torch.randn_like(outputs[0].logits)
    headed = [replace(outputs[0], image_alone=before)]
    both = walk_losses(headed, removed, small_settings.train, shown)
    asked = walk_losses(outputs, removed, small_settings.train)
    of_image = walk_losses([replace(outputs[0], logits=before)], shown, small_settings.train)
    for name in ("ce", "dice"):
        torch.testing.assert_close(both[name], asked[name] + of_image[name])
    for name in ("box", "presence"):
        assert both[name] == of_image[name]


def test_the_loss_is_the_weighed_sum_of_its_parts_at_the_labels_resolution(small_settings):
    outputs, labels = outputs_and_labels(slices=1)
    weights = {"ce_weight": 0.3, "dice_weight": 0.5, "box_weight": 0.7, "presence_weight": 0.9}
    losses = walk_losses(outputs, labels, small_settings.train.model_copy(update=weights))
    truth = labels[:, 0]
    logits = torch.nn.functional.interpolate(outputs[0].logits, size=128, mode="bilinear", align_corners=False)
    expected = {"ce": nnf.cross_entropy(logits, truth), "dice": dice_loss(logits.log_softmax(1), truth)}
    boxes, present = boxes_of_labels(truth, 2)
    expected["box"] = box_loss(outputs[0].boxes, boxes, present)
    expected["presence"] = presence_loss(outputs[0].presence, present)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    total = sum(weights[f"{name}_weight"] * value for name, value in expected.items())
    torch.testing.assert_close(losses["loss"], total)


def test_without_a_generator_there_is_no_box_or_presence_loss(small_settings):
    out = StepOutput(torch.zeros(2, 3, 64, 64), NO_STATE)
    losses = walk_losses([out], make_run(slices=1).labels, small_settings.train)
    assert losses["box"] == losses["presence"] == 0
    assert losses["loss"] > 0


def test_a_loss_at_the_logits_sees_shrunk_labels(small_settings):
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    labels[..., 4:] = 1
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 0, :, 0] = logits[:, 1, :, 1] = 20.0
    out, settings = StepOutput(logits, NO_STATE), small_settings.train
    exact = walk_losses([out], labels, settings.model_copy(update={"loss_at": "logits"}))
    assert exact["loss"] < 1e-3  # each pixel of the logits is right
    assert walk_losses([out], labels, settings)["ce"] > 10 * exact["ce"]  # stretched, they are unsure in between


# --- of a stack ---


def test_each_coarser_output_counts_half_as_much():
    labels = torch.randint(0, 3, (2, 4, 16, 16))
    outputs = [torch.randn(2, 4, 3, 16, 16) for _ in range(3)]
    together = stack_losses(outputs, labels, TrainSettings())
    single = [stack_losses([out], labels, TrainSettings()) for out in outputs]
    for name in ("loss", "ce", "dice"):
        expected = sum(w * losses[name] for w, losses in zip((1, 0.5, 0.25), single, strict=True)) / 1.75
        torch.testing.assert_close(together[name], expected)


def test_labels_are_shrunk_to_an_output_of_fewer_slices():
    labels = torch.zeros(1, 4, 8, 8, dtype=torch.long)
    labels[:, 2:] = 1
    right = torch.zeros(1, 2, 2, 8, 8)
    right[:, 0, 0] = right[:, 1, 1] = 20
    assert stack_losses([right], labels, TrainSettings())["loss"] < 1e-3
    assert stack_losses([right.flip(1)], labels, TrainSettings())["loss"] > 1
