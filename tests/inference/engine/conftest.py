"""A model with every part, and the same by OpenVINO; its graphs, which take seconds to make, are made once."""

import pytest
import torch

SIZE = 128


@pytest.fixture(scope="session")
def network(small_settings):
    """A network with random weights and a prompt head that is not silent."""
    from sautomed.model.build import build

    torch.manual_seed(0)
    network = build(small_settings.model.model_copy(update={"prompt_head": True}), 2, SIZE).eval()
    for parameter in network.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return network


@pytest.fixture(scope="session")
def folder(network, small_settings, tmp_path_factory):
    """Its model folder."""
    from sautomed.inference.bundle import Bundle, save_bundle

    parts = {
        "model": small_settings.model.model_copy(update={"prompt_head": True}),
        "data": small_settings.data.model_copy(update={"plane": "axial", "modality": "other"}),
    }
    folder = tmp_path_factory.mktemp("model")
    save_bundle(folder, Bundle(network, small_settings.model_copy(update=parts), {1: "bright", 5: "dark"}, "MR"))
    return folder


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """The user's folder for caches, while a test that asks for it runs."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture
def kept_graphs(caches, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))


@pytest.fixture(scope="session")
def model(folder, caches):
    """The model by OpenVINO in float32."""
    import sautomed

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(caches))
        return sautomed.load(folder, device="cpu", engine="openvino")


@pytest.fixture(scope="session")
def by_openvino(model):
    return model.network
