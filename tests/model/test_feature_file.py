"""Features in a file are those that were put there."""

import pytest
import torch

from sautomed.model.feature_file import FeatureFile
from sautomed.model.values import Features


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_file_of_features_keeps_every_form_and_number(dtype):
    file = FeatureFile(None)
    kept = {t: Features(torch.randn(1, 3, 4, 5).to(dtype), (torch.randn(1, 2, 8, 10).to(dtype),) * t) for t in range(3)}
    for t, features in kept.items():
        file.put(t, features)
    for t, features in reversed(kept.items()):
        found = file.get(t, torch.device("cpu"))
        assert [m.dtype for m in (found.coarse, *found.fine)] == [dtype] * (1 + t)
        for one, other in zip((found.coarse, *found.fine), (features.coarse, *features.fine), strict=True):
            assert torch.equal(one, other)
    assert 3 not in file
