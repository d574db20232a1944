"""SwinUNETR: shapes, channels, and the sizes that it refuses."""

import pytest
import torch

from sautomed.baselines import build_segmenter
from sautomed.config.baselines import SwinUNETRSettings
from sautomed.errors import UnknownSetting


def make(side=128):
    torch.manual_seed(0)
    return build_segmenter(SwinUNETRSettings(slices=32, features=12), 2, side)


@pytest.mark.slow
def test_a_batch_equals_its_windows_one_by_one():
    model = make().eval()
    images = torch.rand(2, 32, 3, 64, 64)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(one[None]) for one in images])
    assert together.shape == (2, 32, 3, 64, 64)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_only_the_middle_channel_of_a_slice_is_used():
    model = make().eval()
    images = torch.rand(1, 32, 3, 64, 64)
    other = images.clone()
    other[:, :, [0, 2]] = 0
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model(other))


def test_images_that_cannot_be_halved_five_times_are_refused():
    with pytest.raises(UnknownSetting, match="multiple of 32"):
        make(side=144)
