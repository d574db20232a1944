"""MA-SAM on both kinds of trunk."""

import pytest

from ...model.sam.official_layout import write_official
from .small import from_scratch, make_model, on_sam


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


@pytest.fixture(scope="session")
def sam_model(weights):
    """A model on SAM for all tests of the session; it must not be changed."""
    return make_model(on_sam(weights))


@pytest.fixture(params=["sam", "resnet"])
def settings(request, weights):
    return on_sam(weights) if request.param == "sam" else from_scratch()
