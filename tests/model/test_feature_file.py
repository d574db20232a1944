"""Features in a file are those that were put there."""

import pytest
import torch

from sautomed.model.feature_file import FeatureFile
from sautomed.model.values import Features


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_file_of_features_keeps_every_form_and_number(dtype, layout):
    def random(*shape):
        return torch.randn(shape).to(dtype, memory_format=layout)

    file = FeatureFile(None)
    kept = {t: Features(random(1, 3, 4, 5), (random(1, 2, 8, 10),) * t) for t in range(3)}
    for t, features in kept.items():
        file.put(t, features)
    for t, features in reversed(kept.items()):
        found = file.get(t, torch.device("cpu"))
        assert [m.dtype for m in (found.coarse, *found.fine)] == [dtype] * (1 + t)
        for one, other in zip((found.coarse, *found.fine), (features.coarse, *features.fine), strict=True):
            assert torch.equal(one, other)
            assert one.stride() == other.stride()  # on which the last bit of what follows depends
    assert 3 not in file
