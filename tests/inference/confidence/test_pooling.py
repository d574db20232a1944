"""Signals of slices pooled over a volume."""

from dataclasses import dataclass

import numpy as np
import pytest

from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.values import SliceSignals


@dataclass
class Part:
    index: int
    signals: SliceSignals
    presence: np.ndarray | None = None


def part(index, pixels, overlap=None, probability=None, presence=None, iou=np.nan):
    pixels = np.array([float(pixels), 0.0])
    overlap = pixels if overlap is None else np.array([overlap, 0.0])
    probability = pixels if probability is None else np.array([probability, 0.0])
    signals = SliceSignals(pixels, probability, overlap, overlap / 2, np.array([iou, np.nan]), np.full(2, np.nan))
    return Part(index, signals, None if presence is None else np.array([presence, 0.0]))


def pooled(*parts):
    collector = SignalCollector({5: "dark", 1: "bright"})
    for one in parts:
        collector.add(one)
    return collector.pooled()


def test_sums_are_pooled_over_the_volume_and_means_are_weighted_by_pixels():
    found = pooled(part(0, 30, 27, 30, 1.0, 0.9), part(1, 10, 6, 8, 0.6, 0.5), part(2, 0, 0, 4, 0.2))
    assert list(found) == ["bright"]  # an organ without a mask has nothing to pool
    assert found["bright"]["soft_dice"] == pytest.approx(2 * 33 / (42 + 40))
    assert found["bright"]["presence"] == pytest.approx(0.9)
    assert found["bright"]["box_iou"] == pytest.approx(0.8)
    assert found["bright"]["margin"] == pytest.approx(33 / 2 / 40)


def test_the_low_end_is_that_of_the_slices_with_the_organ():
    found = pooled(*(part(t, 10, 10 - t, 10) for t in range(11)), part(11, 0, 0, 9))
    assert found["bright"]["soft_dice_low"] == pytest.approx(0.1)


def test_a_slice_that_comes_again_replaces_the_earlier_one():
    again, alone = pooled(part(0, 10, 1), part(0, 10, 10)), pooled(part(0, 10, 10))
    assert again["bright"] == pytest.approx(alone["bright"], nan_ok=True)


def test_signals_that_a_system_does_not_have_are_nan():
    found = pooled(part(0, 10))["bright"]
    assert np.isnan([found["presence"], found["box_iou"]]).all()
    assert found["soft_dice"] == 1
