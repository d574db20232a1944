"""What training minimises."""

import pytest
import torch
import torch.nn.functional as nnf

from sautomed.model.losses import box_loss, dice_loss, presence_loss


def sure(labels, classes):
    """Logits that leave no doubt."""
    return 60.0 * nnf.one_hot(labels, classes).movedim(-1, 1).float()


def test_dice_of_the_truth_is_zero_and_of_its_opposite_one():
    labels = torch.tensor([[[0, 0, 1, 1]]])
    assert dice_loss(sure(labels, 2), labels).item() == pytest.approx(0, abs=1e-4)
    assert dice_loss(sure(1 - labels, 2), labels).item() == pytest.approx(1, abs=1e-4)


def test_a_class_that_is_nowhere_does_not_count():
    labels = torch.tensor([[[0, 0, 1, 1]]])
    found = torch.tensor([[[0, 2, 1, 1]]])  # one pixel is given to a class that is not there
    # class 0: 2 * 1 / (1 + 2), class 1: 1; class 2 and those that nobody names are left out
    assert dice_loss(sure(found, 5), labels).item() == pytest.approx(1 - (2 / 3 + 1) / 2, abs=1e-4)


def test_dice_is_over_the_batch_not_over_its_slices():
    labels = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    found = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
    # class 1: 2 * 4 / (5 + 4), class 0: 2 * 3 / (3 + 4)
    assert dice_loss(sure(found, 2), labels).item() == pytest.approx(1 - (8 / 9 + 6 / 7) / 2, abs=1e-4)


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
    shown, every = dice_loss(logits, labels), dice_loss(logits, labels, "all")
    assert shown < 0.1
    assert every == pytest.approx((float(shown) + 2.0) / 3, abs=1e-3)
