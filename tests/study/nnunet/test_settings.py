"""Settings of nnU-Net in a study file."""

import pytest

from sautomed.errors import UnknownSetting
from sautomed.study.nnunet.settings import NnUNetSettings, read_changes


def test_changes_replace_the_defaults():
    assert read_changes(["configuration=2d", "memory_gb=2"]) == NnUNetSettings(configuration="2d", memory_gb=2.0)


@pytest.mark.parametrize("change", ["configuration=4d", "epochs=3", "memory_gb=-1", "memory_gb=[", "nonsense"])
def test_settings_that_do_not_exist_are_refused(change):
    with pytest.raises(UnknownSetting):
        read_changes([change])
