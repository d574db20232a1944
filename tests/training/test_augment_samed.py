"""SAMed's augmentation: slices and labels move alike, and how often which change happens."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from sautomed.config import AugmentSettings
from sautomed.training.augment import make_augment

SIDE = 24


def augmented(seed):
    labels = torch.arange(SIDE * SIDE).reshape(1, SIDE, SIDE).repeat(3, 1, 1)
    labels[:, 0, :] = 0
    augment = make_augment(AugmentSettings(recipe="samed"))
    images, moved = augment(labels / labels.max(), labels, np.random.default_rng(seed))
    return labels, images, moved


@given(st.integers(0, 2**32))
@example_settings(max_examples=40, deadline=None)
def test_slices_and_labels_move_alike_and_no_value_is_invented(seed):
    before, images, labels = augmented(seed)
    assert images.shape == labels.shape == before.shape
    assert (images.dtype, labels.dtype) == (torch.float32, before.dtype)
    assert all(torch.equal(labels[0], other) for other in labels)
    torch.testing.assert_close(images, labels / before.max())
    assert set(labels.unique().tolist()) <= set(before.unique().tolist())


def test_a_seed_gives_one_outcome():
    assert torch.equal(augmented(3)[1], augmented(3)[1])


def test_half_are_turned_a_quarter_rotated_and_a_quarter_left():
    kinds = {"left": 0, "turned": 0, "rotated": 0}
    for seed in range(400):
        before, _, labels = augmented(seed)
        if torch.equal(before, labels):
            kinds["left"] += 1
        elif torch.equal(before.flatten().sort().values, labels.flatten().sort().values):
            kinds["turned"] += 1
        else:
            kinds["rotated"] += 1
    assert 0.42 < kinds["turned"] / 400 < 0.58
    assert 0.17 < kinds["rotated"] / 400 < 0.33


def test_bytes_as_prepared_cases_keep_them():
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 4:9, 3:20] = 2
    augment = make_augment(AugmentSettings(recipe="samed"))
    for seed in range(8):
        _, moved = augment(labels.float(), labels, np.random.default_rng(seed))
        assert moved.dtype == torch.uint8
        assert set(moved.unique().tolist()) <= {0, 2}
