"""The signals of a slice, held against what can be computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.confidence.signals import slice_signals
from sautomed.inference.segmenting import segment_slices

NO_BOX = np.full((2, 4), np.nan, np.float32)


def logits_of(probabilities):
    """Logits whose softmax is this."""
    return torch.tensor(probabilities).log()


def test_four_pixels_by_hand():
    """Two pixels of class 1, one of the background, one of class 2."""
    rows = [[0.1, 0.2, 0.6, 0.0], [0.8, 0.5, 0.3, 0.1], [0.1, 0.3, 0.1, 0.9]]
    found = slice_signals(logits_of(rows).reshape(3, 2, 2), NO_BOX, None, None, (1.0, 1.0))
    assert found.pixels.tolist() == [2, 1]
    assert found.probability == pytest.approx([1.7, 1.4])
    assert found.overlap == pytest.approx([1.3, 0.9])
    assert found.margin == pytest.approx([0.7 + 0.2, 0.8])
    assert found.soft_dice == pytest.approx([2.6 / 3.7, 1.8 / 2.4])
    assert found.mean_margin == pytest.approx([0.45, 0.8])
    assert np.isnan(found.box_iou).all()
    assert np.isnan(found.jump_mm).all()


def test_an_empty_mask_has_no_dice_and_no_margin():
    found = slice_signals(torch.tensor([5.0, 0, 0]).reshape(3, 1, 1).expand(3, 4, 4), NO_BOX, None, None, (1.0, 1.0))
    assert found.pixels.tolist() == [0, 0]
    assert np.isnan(found.soft_dice).all()
    assert np.isnan(found.mean_margin).all()


@given(st.integers(0, 2**16))
def test_the_sums_are_those_of_the_maps(seed):
    logits = 3 * torch.randn(4, 6, 7, generator=torch.Generator().manual_seed(seed))
    found = slice_signals(logits, np.full((3, 4), np.nan, np.float32), None, None, (1.0, 1.0))
    probabilities, winner = logits.softmax(0), logits.argmax(0)
    best = probabilities.sort(0, descending=True).values
    for k in range(3):
        mask = winner == k + 1
        assert found.pixels[k] == mask.sum()
        assert found.probability[k] == pytest.approx(float(probabilities[k + 1].sum()), rel=1e-4)
        assert found.overlap[k] == pytest.approx(float(probabilities[k + 1][mask].sum()), rel=1e-4, abs=1e-6)
        assert found.margin[k] == pytest.approx(float((best[0] - best[1])[mask].sum()), rel=1e-4, abs=1e-5)


def boxes(*rows):
    return np.array(rows, np.float32)


def test_boxes_are_compared_with_the_prediction_and_with_the_slice_before():
    mask = boxes((0, 0, 10, 10), (2, 2, 4, 4))
    before = boxes((0, 0, 10, 16), (np.nan,) * 4)
    predicted = boxes((5, 0, 15, 10), (2, 2, 4, 4))
    found = slice_signals(torch.zeros(3, 4, 4), mask, before, predicted, (0.5, 2.0))
    assert found.box_iou == pytest.approx([50 / 150, 1])
    assert found.jump_mm[0] == pytest.approx(6 * 0.5)  # rows are 0.5 mm apart
    assert np.isnan(found.jump_mm[1])


def test_without_a_predicted_box_the_prompt_is_compared():
    mask, prompt = boxes((0, 0, 4, 4), (0, 0, 4, 4)), boxes((0, 0, 4, 8), (20, 20, 24, 24))
    found = slice_signals(torch.zeros(3, 4, 4), mask, prompt, None, (1.0, 1.0))
    assert found.box_iou.tolist() == [0.5, 0]


def test_a_missing_mask_has_no_agreement():
    found = slice_signals(torch.zeros(3, 4, 4), NO_BOX, NO_BOX, boxes((0, 0, 4, 4), (0, 0, 4, 4)), (1.0, 1.0))
    assert np.isnan(found.box_iou).all()


def test_every_slice_of_a_walk_has_signals(model, write, tmp_path):
    volume = model.read(write(tmp_path / "scan.nii.gz"))
    parts = list(segment_slices(model.network, volume, model.settings, model.labels))
    for part in parts:
        there = ~np.isnan(part.mask_boxes[:, 0])
        assert (np.isfinite(part.signals.box_iou) == there).all()
    first, *_, last = parts
    assert np.isnan(first.signals.jump_mm).all()  # no slice came before it
    assert np.isfinite(last.signals.jump_mm).any()
