"""Which device a name means, and what says that memory ran out."""

import pytest
import torch

from sautomed.errors import UsageError
from sautomed.inference.device import choose_device


def test_auto_takes_what_there_is():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cpu2", *([] if torch.cuda.is_available() else ["cuda", "cuda:1"])])
def test_a_device_that_is_not_here_is_a_fault_of_the_command(name):
    with pytest.raises(UsageError, match=f"no device '{name}'") as caught:
        choose_device(name)
    assert caught.value.exit_code == 2
