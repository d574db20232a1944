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


def test_a_bias_field_is_smooth_and_the_same_on_all_slices():
    settings = AugmentSettings(probability=0.0, intensity_probability=1.0, bias_field=0.3)
    grey, labels = torch.full((3, 64, 64), 0.4), torch.zeros(3, 64, 64, dtype=torch.uint8)
    field = Augment(settings).intensity.transforms[0].set_random_state(0)(grey) / 0.4
    assert field.max() > 1.1
    assert field.min() < 0.95
    assert field.log().diff(dim=1).abs().max() < 0.15
    assert torch.equal(field[0], field[2])
    with_field, _ = Augment(settings)(grey, labels, np.random.default_rng(0))
    without, _ = Augment(settings.model_copy(update={"bias_field": 0.0}))(grey, labels, np.random.default_rng(0))
    assert not torch.equal(with_field, without)
