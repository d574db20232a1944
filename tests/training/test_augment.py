"""One transform for all slices of a run."""

import numpy as np
import torch

from sautomed.config import AugmentSettings
from sautomed.training.augment import Augment


def run(seed, **changes):
    labels = torch.zeros(4, 64, 64, dtype=torch.uint8)
    labels[:, 20:40, 10:30] = 2
    settings = AugmentSettings(**changes)
    return (*Augment(settings)(0.5 * (labels > 0).float(), labels, np.random.default_rng(seed)), labels)


def test_slices_move_together_and_labels_with_them():
    images, labels, before = run(0, probability=1.0, intensity_probability=0.0)
    assert not torch.equal(labels, before)
    assert all(torch.equal(labels[0], other) for other in labels)
    assert set(labels.unique().tolist()) == {0, 2}
    inside = images[labels == 2]
    assert inside.mean() > 0.45
    assert images[labels == 0].mean() < 0.05


def test_intensities_change_but_stay_in_range_and_labels_do_not():
    images, labels, before = run(0, probability=0.0, intensity_probability=1.0)
    assert torch.equal(labels, before)
    assert not torch.equal(images, 0.5 * (before > 0).float())
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_seed_gives_one_outcome():
    for one, two in zip(run(7), run(7), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(run(7)[0], run(8)[0])


def test_off_is_off():
    images, labels, before = run(0, probability=0.0, intensity_probability=0.0)
    assert torch.equal(labels, before)
    assert torch.equal(images, 0.5 * (before > 0).float())
