"""A folder of graphs that the tests of this room share, and the small model in OpenVINO."""

import pytest


@pytest.fixture(scope="session")
def graphs(tmp_path_factory):
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def openvino_model(small_model, graphs):
    """The small network, computed by OpenVINO in float32."""
    from sautomed.inference.engine.graph import GraphMaker
    from sautomed.inference.engine.walker import OpenVinoWalker

    return OpenVinoWalker(small_model, small_model, GraphMaker("32", "small" * 10, 128, graphs))
