"""Native slices to the network's square and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.resize import SliceFit, automatic_size, channel_slices

sides = st.integers(20, 200)
spacings = st.floats(0.5, 2.0)


def smooth(h, w):
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.exp(-3 * ((x - 0.2) ** 2 + (y + 0.1) ** 2))


@given(h=sides, w=sides, row=spacings, col=spacings)
def test_the_shape_in_mm_is_kept_and_fills_the_square(h, w, row, col):
    fit = SliceFit((h, w), (row, col), 128)
    inner = fit.inner
    assert max(inner) == 128
    pixel_mm = max(h * row, w * col) / 128
    assert abs(inner[0] * pixel_mm - h * row) <= 0.51 * pixel_mm or inner[0] == 1
    assert abs(inner[1] * pixel_mm - w * col) <= 0.51 * pixel_mm or inner[1] == 1
    assert fit.to_network(torch.rand(2, h, w)).shape == (2, 128, 128)


@given(h=sides, w=sides, row=spacings, col=spacings, stride=st.sampled_from([1, 2, 4]))
def test_what_goes_in_smooth_comes_back_in_place(h, w, row, col, stride):
    """A shift of half a pixel anywhere would show: the blob's centre must return to where it was."""
    fit = SliceFit((h, w), (row, col), 128)
    blob = smooth(h, w)
    square = torch.nn.functional.avg_pool2d(fit.to_network(blob[None])[None], stride)
    back = fit.to_native(square)[0, 0]
    assert back.shape == (h, w)
    inner = min(fit.inner)
    if inner >= 40:
        margin = (slice(h // 8, -(h // 8)), slice(w // 8, -(w // 8)))
        assert (back - blob)[margin].abs().mean() < 0.02 * stride


def test_labels_grow_with_smooth_contours_and_keep_their_area():
    """A disc, drawn coarsely and made four times larger, is nearer to the disc drawn finely than stairs would be."""

    def disc(side):
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        centre, radius = side / 2, side / 4
        return ((x + 0.5 - centre) ** 2 + (y + 0.5 - centre) ** 2 < radius**2).long()

    coarse, fine = disc(40), disc(160)
    grown = SliceFit((40, 40), (1, 1), 160).labels_to_network(coarse[None], classes=1)[0]
    stairs = coarse.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert grown.sum() / 16 == pytest.approx(coarse.sum().item(), rel=0.02)
    assert (grown != fine).sum() < 0.9 * (stairs != fine).sum()


def test_padding_is_background():
    fit = SliceFit((20, 40), (1, 1), 128)
    labels = fit.labels_to_network(torch.ones(1, 20, 40, dtype=torch.long), classes=1)
    assert labels[0, :31].sum() == 0
    assert labels[0, 32:96].all()
    assert labels[0, 97:].sum() == 0


def test_the_automatic_size_is_that_of_the_median_case():
    assert automatic_size([(320, 1.25), (330, 1.25), (100, 1.0)], (128, 512)) == 256
    assert automatic_size([(50, 1.0)], (128, 256)) == 128
    assert automatic_size([(500, 0.5)], (128, 256)) == 256


def test_channels_are_one_slice_or_three():
    assert channel_slices(4, 9, "repeat") == (4, 4, 4)
    assert channel_slices(4, 9, "neighbours") == (3, 4, 5)
    assert channel_slices(0, 9, "neighbours") == (0, 0, 1)


@given(h=sides, w=sides, row=spacings, col=spacings)
def test_the_whole_slice_as_a_box_is_the_whole_native_slice(h, w, row, col):
    fit = SliceFit((h, w), (row, col), 128)
    (rows, columns), (top, left) = fit.inner, fit.offset
    box = torch.tensor([left, top, left + columns, top + rows]) / 128
    torch.testing.assert_close(fit.boxes_to_native(box), torch.tensor([0.0, 0.0, w, h]), rtol=0, atol=1e-2)


corners = st.floats(0, 1, width=32)


@given(h=sides, w=sides, row=spacings, col=spacings, box=st.tuples(corners, corners, corners, corners))
def test_boxes_go_to_the_square_and_back(h, w, row, col, box):
    fit = SliceFit((h, w), (row, col), 128)
    native = torch.tensor([box]) * torch.tensor([w, h, w, h])
    square = fit.boxes_to_network(native)
    torch.testing.assert_close(fit.boxes_to_native(square), native, rtol=1e-4, atol=1e-2)
    (rows, columns), (top, left) = fit.inner, fit.offset
    assert (square >= torch.tensor([left, top, left, top]) / 128 - 1e-5).all()
    assert (square <= torch.tensor([left + columns, top + rows, left + columns, top + rows]) / 128 + 1e-5).all()


def test_an_odd_rest_of_padding_is_below_and_right():
    fit = SliceFit((21, 40), (1.0, 1.0), 128)
    assert (fit.inner, fit.offset) == ((67, 128), (30, 0))


def test_fine_patterns_shrink_to_their_mean():
    stripes = torch.zeros(1, 512, 512)
    stripes[:, :, ::2] = 1
    assert SliceFit((512, 512), (1.0, 1.0), 128).to_network(stripes)[0, 8:-8, 8:-8].std() < 0.02


def test_the_border_of_the_square_is_not_mixed_with_zeros():
    fit = SliceFit((40, 40), (1.0, 1.0), 128)
    torch.testing.assert_close(fit.to_native(torch.ones(1, 1, 32, 32)), torch.ones(1, 1, 40, 40))


@given(
    h=sides, w=sides, row=spacings, col=spacings, seed=st.integers(0, 99), organs=st.integers(1, 4),
    background=st.sampled_from([-3.0, 0.0, 2.5, 9.0]), smoothness=st.sampled_from([1, 5, 15]),
)  # fmt: skip
def test_classes_are_those_of_interpolating_everything(h, w, row, col, seed, organs, background, smoothness):
    fit = SliceFit((h, w), (row, col), 128)
    noise = torch.randn(1, organs + 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    logits = 3 * smoothness * torch.nn.functional.avg_pool2d(noise, smoothness, 1, smoothness // 2)
    logits[:, 0] += background
    everything = fit.to_native(logits)[0]
    first, second = everything.topk(2, 0).values
    clear = first - second > 1e-4  # a tie may end either way
    found = fit.classes_to_native(logits[0])
    assert found.dtype == torch.uint8
    assert torch.equal(found[clear].long(), everything.argmax(0)[clear])


def test_a_slice_without_organs_is_background():
    logits = torch.zeros(3, 32, 32)
    logits[0] = 1
    assert not SliceFit((40, 60), (1, 1), 128).classes_to_native(logits).any()


@pytest.mark.parametrize("place", [(0, 0), (31, 31), (0, 31), (15, 16)])
def test_an_organ_of_one_logit_is_found_anywhere(place):
    """Also in a corner, whose outer half lies beyond the last centres of the logits."""
    logits = torch.zeros(4, 32, 32)
    logits[0], logits[2][place] = 1, 9
    fit = SliceFit((128, 128), (1, 1), 128)
    found = fit.classes_to_native(logits)
    assert found[place[0] * 4 + 2, place[1] * 4 + 2] == 2
    assert torch.equal(found.long(), fit.to_native(logits[None])[0].argmax(0))
