"""Laws of every system in MODELS: a new entry is tested at once, with its defaults if it has no row in SMALL.

Systems on a trunk are tested on every kind of it.
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from sautomed import errors
from sautomed.baselines import MODELS, build_empty_segmenter, build_segmenter
from sautomed.config import SYSTEMS, SegmentSettings, Settings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.inference.engine.bf16 import in_bf16
from sautomed.model.corrections import CorrectedWalk, Corrections
from sautomed.model.given import GivenPrompts
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS

from ..conftest import SMALL_MODEL
from ..model.sam.official_layout import write_official

CLASSES, DEPTH = 2, 5
ON_RESNET = {key: SMALL_MODEL[key] for key in ("trunk", "dim", "decoder")}
WEIGHTS = "tiny SAM"  # replaced by the path of a file

SMALL = {
    "sautomed": SMALL_MODEL,
    "sam": {"trunk": {"weights": WEIGHTS}},
    "samed": ON_RESNET,
    "ma_sam": ON_RESNET,
    "slide_sam": ON_RESNET,
    "transunet": {"width": 32, "units": [1, 1, 1], "dim": 24, "layers": 1, "heads": 2, "mlp": 32},
    "swin_unet": {"dim": 12, "heads": [1, 2, 3, 4]},
    "dynunet": {"slices": 8, "flat_stages": 2, "filters": 16},
    "swinunetr": {"slices": 32, "features": 12},
}
ON_EFFICIENTNET = [name for name, model in SMALL.items() if model.get("trunk") == SMALL_MODEL["trunk"]]
EFFICIENTNET = {"kind": "efficientnet_lite0", "weights": None}
SIDE = {"swin_unet": 224, "swinunetr": 64}  # of the images in pixels; else 128
FOLDER_SIDE = {"swin_unet": 224}  # the smallest that settings take is 128
NOT_TRAINED = {"sam"}


@dataclass(frozen=True)
class Batch:
    images: Tensor
    labels: Tensor
    upward: Tensor


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


@pytest.fixture(
    params=[(name, None) for name in MODELS] + [(name, EFFICIENTNET) for name in ON_EFFICIENTNET],
    ids=lambda param: param[0] + ("-efficientnet" if param[1] else ""),
)
def system(request):
    return request.param


@pytest.fixture
def name(system):
    return system[0]


@pytest.fixture
def settings(system, weights):
    """Settings of a whole experiment with small sizes."""
    name, trunk = system
    model = {"name": name, **SMALL.get(name, {})} | ({"trunk": trunk} if trunk else {})
    if model.get("trunk") == {"weights": WEIGHTS}:
        model["trunk"] = {"weights": str(weights)}
    return Settings.model_validate({"model": model, "data": {"image_size": FOLDER_SIDE.get(name, 128)}})


@pytest.fixture
def side(name):
    return SIDE.get(name, 128)


@pytest.fixture
def network(settings, side):
    torch.manual_seed(0)
    return build_segmenter(settings.model, CLASSES, side)


def make_volume(side):
    """Make a reader of noise with a square organ in the inner slices."""
    slices = torch.rand(DEPTH, 1, side, side, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    labels = torch.zeros(DEPTH, side, side, dtype=torch.long)
    labels[1:-1, side // 4 : side // 2, side // 4 : side // 2] = 1
    return SimpleNamespace(depth=DEPTH, images=lambda rows: slices[list(rows)], truth=lambda rows: labels[list(rows)])


def make_batch(network, side):
    labels = torch.zeros(2, network.run_slices or 2, side, side, dtype=torch.long)
    labels[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    labels[..., side // 2 : side // 2 + 20, side // 2 :] = 2
    padded = torch.cat([labels[:, :1], labels, labels[:, -1:]], 1)
    images = (0.1 + 0.4 * padded.float())[:, :, None].expand(-1, -1, 3, -1, -1).contiguous()
    return Batch(images, labels, torch.tensor([True, False]))


def test_every_system_has_settings_of_its_name():
    assert MODELS.keys() == SYSTEMS.keys()


def test_a_network_states_its_classes_and_prompts(network):
    assert network.classes == CLASSES
    assert network.prompts in ("none", "box", "points")


def test_a_training_step_has_a_finite_loss_and_a_gradient(name, network, settings, side):
    """And a small step along it lowers the loss of the same example."""
    batch, recipe = make_batch(network, side), settings.train
    if name in NOT_TRAINED:
        with pytest.raises(errors.UsageError):
            network.losses(batch, recipe, torch.Generator())
        return
    network.train()

    def loss():
        torch.manual_seed(1)  # of dropout
        losses = network.losses(batch, recipe, torch.Generator().manual_seed(0))
        assert all(torch.isfinite(value) for value in losses.values())
        return losses["loss"]

    before = loss()
    before.backward()
    trained = [p for p in network.parameters() if p.requires_grad and p.grad is not None]
    length = torch.stack([p.grad.norm() for p in trained]).norm()
    assert 0 < length < math.inf
    with torch.no_grad():
        for p in trained:
            p -= 0.01 * p.grad / length
        assert loss() < before


def test_every_slice_is_predicted_once_and_without_gradient(network, side):
    found = list(network.eval().predict(make_volume(side), SegmentSettings(chunk=2)))
    assert sorted(slice_.index for slice_ in found) == list(range(DEPTH))
    for slice_ in found:
        assert slice_.logits.shape[0] == CLASSES + 1
        assert torch.isfinite(slice_.logits).all()
        assert not slice_.logits.requires_grad


def test_every_slice_is_predicted_in_bf16_too(network, side):
    found = list(in_bf16(network.eval()).predict(make_volume(side), SegmentSettings(chunk=2)))
    assert sorted(slice_.index for slice_ in found) == list(range(DEPTH))
    for slice_ in found:
        assert slice_.logits.dtype == torch.float32
        assert torch.isfinite(slice_.logits).all()


def test_the_heaviest_part_takes_several_slices(network, side):
    with torch.inference_mode():
        network.eval().run_heaviest_part(torch.rand(2, 3, side, side))


def test_a_model_folder_brings_the_network_back(settings, tmp_path):
    torch.manual_seed(1)
    network = build_segmenter(settings.model, CLASSES, settings.data.image_size).eval()
    save_bundle(tmp_path, Bundle(network, settings, {1: "a", 2: "b"}, "MR"))
    back = load_bundle(tmp_path)
    assert back.settings.model.name == settings.model.name
    assert not back.network.training
    own, read = network.state_dict(), back.network.state_dict()
    assert own.keys() == read.keys()
    assert all(torch.equal(own[key], read[key]) for key in own)


def test_a_system_without_a_whole_trunk_is_not_built_empty():
    with pytest.raises(errors.UnknownSetting, match="TransUNet"):
        build_empty_segmenter(SYSTEMS["transunet"](), CLASSES, 128, PretrainedTrunk("sam.pth", "", "sam"))


def test_a_system_that_goes_slice_by_slice_can_be_corrected_and_its_corrections_travel(network, side):
    if not isinstance(network, SliceWalker):
        pytest.skip("sees many slices at once, or is prompted organ by organ")
    network.eval()
    mask = torch.zeros(side, side, dtype=torch.bool)
    inner = Walk(network, make_volume(side), WALKS["mid_to_ends"](DEPTH), 2, 2**30)
    walk = CorrectedWalk(inner, lambda _: GivenPrompts.nothing(CLASSES, (side, side)).mask(0, mask), 2**30)
    automatic = {part.index: part.logits for part in walk}
    mask = torch.nn.functional.interpolate(automatic[1][None], (side, side)).argmax(1)[0] != 1  # all of it is wrong
    corrections = Corrections().give(1, 0, "painted").travel(1, [0], 0).travel(1, [0], 2)
    assert torch.equal(walk.slice(1, corrections).logits.argmax(0) == 1, mask)
    for t in (0, 1, 2):
        assert not torch.equal(walk.slice(t, corrections).logits, automatic[t])
        assert torch.equal(walk.slice(t, Corrections()).logits, automatic[t])
