"""DynUNet: its strides, its outputs and their losses, and sizes that it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.baselines import build_segmenter
from sautomed.baselines.dynunet import window_strides
from sautomed.config import TrainSettings
from sautomed.config.baselines import DynUNetSettings
from sautomed.errors import UnknownSetting
from sautomed.model.losses import stack_losses


def make():
    torch.manual_seed(0)
    return build_segmenter(DynUNetSettings(slices=8, flat_stages=2, filters=16), 2, 128)


def test_a_batch_equals_its_windows_one_by_one():
    model = make().eval()
    images = torch.rand(2, 8, 3, 64, 64)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(one[None]) for one in images])
    assert together.shape == (2, 8, 3, 64, 64)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_only_the_middle_channel_of_a_slice_is_used():
    model = make().eval()
    images = torch.rand(1, 8, 3, 64, 64)
    other = images.clone()
    other[:, :, [0, 2]] = 0
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model(other))


# --- deep supervision ---


def test_coarser_outputs_are_trained_too():
    model = make().train()
    outputs = model.in_training(torch.rand(1, 8, 3, 64, 64))
    assert [out.shape for out in outputs] == [(1, 8, 3, 64, 64)] * 3
    labels = torch.zeros(1, 8, 64, 64, dtype=torch.long)
    stack_losses(outputs, labels, TrainSettings())["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


# --- strides ---


@given(
    slices=st.sampled_from([4, 6, 8, 16, 24, 32, 48]),
    side=st.sampled_from([128, 144, 160, 192, 224, 256, 512]),
    flat=st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_strides_divide_the_window_and_leave_four_places(slices, side, flat):
    strides = window_strides(slices, side, flat)
    across = within = 1
    for step, rows, columns in strides:
        across, within = across * step, within * rows
        assert rows == columns
    assert strides[0] == (1, 1, 1)
    assert slices % across == 0
    assert side % within == 0
    assert slices // across >= 4
    assert side // within >= 4
    assert all(step == 1 for step, _, _ in strides[1 : 1 + flat])


def test_images_that_cannot_be_halved_twice_are_refused():
    with pytest.raises(UnknownSetting, match="halved"):
        window_strides(8, 18, 0)
