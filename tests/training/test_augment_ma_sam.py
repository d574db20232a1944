"""MA-SAM's recipe: what each change does, checked by hand and against the imaging library that its code uses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from sautomed.config import AugmentSettings
from sautomed.training import augment_ma_sam as recipe
from sautomed.training.augment import RECIPES, make_augment

SIDE = 64


def example(slices=3):
    rng = np.random.default_rng(slices)
    labels = torch.zeros(slices, SIDE, SIDE, dtype=torch.uint8)
    labels[:, 20:40, 10:30], labels[:, 44:60, 40:60] = 3, 1
    images = 0.2 * labels.float() + 0.3 * torch.from_numpy(rng.random((1, SIDE, SIDE), dtype=np.float32))
    return images.expand(slices, -1, -1).clone(), labels


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), slices=st.integers(1, 5))
def test_slices_change_alike_stay_in_range_and_keep_their_kind(seed, slices):
    images, labels = example(slices)
    before = images.clone(), labels.clone()
    augment = make_augment(AugmentSettings(recipe="ma_sam"))
    found, marked = augment(images, labels, np.random.default_rng(seed))
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert (marked.shape, marked.dtype) == (labels.shape, labels.dtype)
    assert found.min() >= 0
    assert found.max() <= 1
    assert set(marked.unique().tolist()) <= {0, 1, 3}
    for t in range(1, slices):
        torch.testing.assert_close(found[t], found[0])
        assert torch.equal(marked[t], marked[0])


def test_a_seed_gives_one_outcome():
    augment = recipe.MaSamAugment(AugmentSettings())
    one, two, other = (augment(*example(), np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])


def test_it_is_in_the_table_and_has_ten_changes_to_choose_from():
    assert RECIPES["ma_sam"] is recipe.MaSamAugment
    assert len(recipe.TEN) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_of_the_ten_moves_the_image_or_its_intensities_but_never_both(number):
    images, labels = example()
    found, marked = recipe.TEN[number](images, labels, np.random.default_rng(7))
    moves = not torch.equal(marked, labels)
    assert moves == (number < 5)
    assert torch.equal(found, images) == (number == 9)


def test_erasing_puts_one_patch_of_noise_everywhere_and_makes_it_background():
    images, labels = torch.full((3, SIDE, SIDE), 0.5), torch.ones(3, SIDE, SIDE, dtype=torch.uint8)
    for seed in range(20):
        found, marked = recipe._erase(images, labels, np.random.default_rng(seed))
        patch = marked[0] == 0
        assert 0.015 < patch.float().mean() < 0.051
        assert torch.equal(found[0] != 0.5, patch)
        assert torch.equal(found[0], found[2])
        assert torch.equal(marked[0], marked[2])
    assert labels.all()


def test_gamma_brightens_and_darkens_within_its_limits():
    grey = torch.full((1, 2, 2), 0.25)
    found = [recipe._gamma(grey, grey.int(), np.random.default_rng(seed))[0][0, 0, 0].item() for seed in range(50)]
    assert min(found) >= 0.25**2 - 1e-6
    assert max(found) <= 0.25 ** (1 / 3.5) + 1e-6
    assert min(found) < 0.25 < max(found)


# --- against Pillow, which the public code calls slice by slice; it rounds to 8 bits ---


def grey_levels():
    """Smooth, as scans are, so that half a pixel at the edge does not matter much."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return Image.fromarray((127 + 120 * np.sin(5 * x) * np.cos(4 * y)).astype(np.uint8))


def as_tensor(image):
    return torch.from_numpy(np.asarray(image).astype(np.float32))[None] / 255


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([[1, 0.2, 0], [0, 1, 0]], (1, 0.2, -0.2 * SIDE / 2, 0, 1, 0)),
        ([[1, 0, 0], [-0.3, 1, 0]], (1, 0, 0, -0.3, 1, 0.3 * SIDE / 2)),
        ([[0.8, 0, -0.2], [0, 0.8, -0.2]], (0.8, 0, 0, 0, 0.8, 0)),
        ([[1.2, 0, 0.2], [0, 1.2, 0.2]], (1.2, 0, 0, 0, 1.2, 0)),
        ([[1, 0, 0.3], [0, 1, 0]], (1, 0, 0.15 * SIDE, 0, 1, 0)),
        ([[1, 0, 0], [0, 1, -0.4]], (1, 0, 0, 0, 1, -0.2 * SIDE)),
    ],
)
def test_moves_are_the_public_codes(ours, theirs):
    image = grey_levels()
    expected = as_tensor(
        image.transform(image.size, Image.Transform.AFFINE, theirs, resample=Image.Resampling.BILINEAR)
    )
    found = recipe.moved(as_tensor(image), [[float(v) for v in row] for row in ours], "bilinear")
    differs = (found - expected).abs() > 2.5 / 255
    assert differs.float().mean() < 0.035  # a line at the edge of what came from outside
    labels = Image.fromarray((np.asarray(image) // 64).astype(np.uint8))
    expected = labels.transform(labels.size, Image.Transform.AFFINE, theirs, resample=Image.Resampling.NEAREST)
    found = recipe.moved(torch.from_numpy(np.array(labels))[None], [[float(v) for v in row] for row in ours], "nearest")
    assert (found[0].numpy() != np.asarray(expected)).mean() < 0.035


@pytest.mark.parametrize("factor", [0.1, 0.7, 1.0, 1.3, 1.9])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (recipe.contrasted, ImageEnhance.Contrast),
        (recipe.brightened, ImageEnhance.Brightness),
        (recipe.sharpened, ImageEnhance.Sharpness),
    ],
)
def test_intensities_are_the_public_codes(ours, theirs, factor):
    image = grey_levels()
    expected = as_tensor(theirs(image).enhance(factor))
    assert (ours(as_tensor(image), factor).clamp(0, 1) - expected).abs().max() <= 2.1 / 255


@pytest.mark.parametrize("bits", [4, 5, 6, 7, 8])
def test_posterizing_is_the_public_codes(bits):
    image = grey_levels()
    expected = as_tensor(ImageOps.posterize(image, bits))
    assert torch.equal(recipe.posterized(as_tensor(image), bits + 0.5), expected)
