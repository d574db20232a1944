"""SAM's numbers: against an independent forward pass, against frozen numbers of the official code, and by laws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sautomed.errors import UnknownSetting
from sautomed.model.sam.keys import SIZES, SamSizes
from sautomed.model.sam.network import Sam, build_sam, dense_position, load_sam

from . import sam_reference
from .official_layout import Tiny, noise, official_state

TINY = Tiny()
TINY_SIZES = SamSizes(TINY.dim, TINY.depth, TINY.heads, TINY.global_blocks, TINY.grid)

# What the official code (segment_anything 1.0, PyTorch 2.13, CPU) gives for `official_state()` in a SAM of the sizes
# `Tiny()` at 256 px, for `_images()` and `_boxes()`, all four mask tokens: eight entries spread evenly over the
# flattened output, then its mean and standard deviation.
OFFICIAL = {
    "features": (0.1942814, -1.466809, -0.8533646, 0.6846235, 0.2646805, 0.1064082, 3.562391, 0.3515922,
                 0.008440185, 1.087999),
    "sparse": (-0.3050337, 0.5577087, -1.148421, -0.2212459, -1.016215, -0.889618, 1.247084, 1.505052,
               -0.05829223, 0.9092764),
    "dense": (0.08586942, -0.5052982, -0.5147499, 0.4603518, -0.1491753, -0.3394056, 0.4069059, -0.9219354,
              0.02333064, 0.5731643),
    "masks": (0.1713455, 0.5783187, -0.06304067, 0.6838796, 0.5453706, 0.3514999, 0.5585379, 0.8653873,
              0.2763784, 0.4058999),
    "iou": (0.4705804, 0.1871139, 0.4699822, 0.1869648, 0.4683543, 0.1943894, 0.4717271, -0.04301834,
            0.2017363, 0.1875782),
}  # fmt: skip


@pytest.fixture
def weights_file(tmp_path):
    path = tmp_path / "sam_tiny.pth"
    torch.save(official_state(), path)
    return path


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> Sam:
    path = tmp_path_factory.mktemp("weights") / "sam_tiny.pth"
    torch.save(official_state(), path)
    return load_sam(path, image_size=256)


def _images(size: int = 256, count: int = 2) -> Tensor:
    return 2 * noise(count * 3 * size * size, salt=77).reshape(count, 3, size, size)


def _boxes(size: int = 256) -> Tensor:
    boxes = [[[10, 20, 200, 220], [0, 0, 255, 255]], [[100, 5, 130.5, 250], [60, 60, 61, 61]]]
    return torch.tensor(boxes) * (size / 256)


@torch.no_grad()
def _run(sam: Sam, images: Tensor, boxes: Tensor) -> dict[str, Tensor]:
    features = sam.encode_image(images)
    sparse, dense = sam.encode_boxes(boxes)
    masks, iou = sam.decode(features, sparse, dense)
    return {"features": features, "sparse": sparse, "dense": dense, "masks": masks, "iou": iou}


def _reference(state: dict[str, Tensor], image: Tensor, box: Tensor) -> dict[str, Tensor]:
    size = image.shape[-1]
    features = sam_reference.features(state, image, TINY.heads, TINY.global_blocks)
    sparse = sam_reference.sparse(state, box, size)
    dense = sam_reference.dense(state, size // 16)
    masks, iou = sam_reference.decode(state, features, sparse, dense)
    return {"features": features, "sparse": sparse, "dense": dense, "masks": masks, "iou": iou}


def _relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("name", OFFICIAL)
def test_frozen_numbers_of_the_official_code(sam, name):
    out = _run(sam, _images(), _boxes())[name]
    probes = out.flatten()[torch.linspace(0, out.numel() - 1, 8).long()]
    found = torch.cat([probes, out.mean()[None], out.std()[None]])
    torch.testing.assert_close(found, torch.tensor(OFFICIAL[name]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_every_stage_equals_plain_functions_of_the_state_dict(weights_file, size):
    """At 256 the tables fit; at 128 and 512 they are stretched. All three sizes pad their windows."""
    sam = load_sam(weights_file, image_size=size)
    state = sam_reference.stretch(official_state(), size // 16, TINY.global_blocks)
    image, box = _images(size, count=1), _boxes(size)[:1, :1]
    theirs = _reference(state, image[0], box[0, 0])
    ours = {name: out.reshape(theirs[name].shape) for name, out in _run(sam, image, box).items()}
    assert {name: _relative_error(ours[name], theirs[name]) for name in ours} == pytest.approx(
        dict.fromkeys(ours, 0.0), abs=1e-5
    )


def test_epsilons_are_the_official_ones(tmp_path):
    """Where what enters a norm hardly varies, its epsilon decides, and a wrong one shows in the first digits."""
    before_a_norm = ("pos_embed", "patch_embed", "neck.0", "neck.2", "layers.0.self_attn.out_proj", "upscaling.0")
    state = official_state()
    for name in state:
        if any(part in name for part in before_a_norm):
            state[name] = 0.003 * state[name]
    torch.save(state, tmp_path / "quiet.pth")
    image, box = _images(128, count=1), _boxes(128)[:1, :1]
    ours = _run(load_sam(tmp_path / "quiet.pth", image_size=128), image, box)
    theirs = _reference(sam_reference.stretch(state, 8, TINY.global_blocks), image[0], box[0, 0])
    for name in ("features", "masks", "iou"):
        assert _relative_error(ours[name].reshape(theirs[name].shape), theirs[name]) < 1e-5


def test_a_batch_of_images_with_several_boxes_equals_one_by_one(sam):
    images, boxes = _images(), _boxes()
    together = _run(sam, images, boxes)
    assert together["masks"].shape == (2, 2, 4, 64, 64)
    assert together["iou"].shape == (2, 2, 4)
    for i in range(2):
        for n in range(2):
            alone = _run(sam, images[i : i + 1], boxes[i : i + 1, n : n + 1])
            for name in ("sparse", "dense", "masks", "iou"):
                torch.testing.assert_close(together[name][i, n], alone[name][0, 0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(together["features"][i], alone["features"][0], rtol=1e-4, atol=1e-5)


def test_boxes_are_prompts_by_themselves(sam):
    swapped = _run(sam, _images(), _boxes().flip(1))
    torch.testing.assert_close(swapped["masks"].flip(1), _run(sam, _images(), _boxes())["masks"], rtol=1e-4, atol=1e-5)


def test_position_is_the_corner_encoding_of_the_middle_of_each_place(sam):
    """A corner is shifted by half a pixel and divided by the image's size; so is the middle of a place."""
    where = sam.image_position()[0]
    middle_of_place = torch.tensor([16 * 3 + 8 - 0.5, 16 * 9 + 8 - 0.5])  # column 3, row 9
    sparse, _ = sam.encode_boxes(torch.cat([middle_of_place, middle_of_place])[None, None])
    torch.testing.assert_close(sparse[0, 0, 0] - sam.prompt.point_embed[2].weight[0], where[:, 9, 3])


def test_dense_position_of_a_grid_that_is_not_square(sam):
    assert dense_position(sam.prompt.shared_embedding, 3, 5).shape == (1, 256, 3, 5)


def test_gradients_reach_features_and_prompts(sam):
    with torch.no_grad():
        features = sam.encode_image(_images())
        sparse, dense = sam.encode_boxes(_boxes())
    features.requires_grad_()
    sparse.requires_grad_()
    masks, iou = sam.decode(features, sparse, dense)
    (masks.mean() + iou.mean()).backward()
    assert features.grad.abs().max() > 0
    assert sparse.grad.abs().max() > 0


def test_features_are_the_same_whether_or_not_gradients_are_kept(sam):
    """Scores are summed in place, which must not disturb what the backward pass needs."""
    images = _images(count=1)
    with torch.no_grad():
        plain = sam.encode_image(images)
    torch.testing.assert_close(sam.encode_image(images).detach(), plain, rtol=0, atol=0)


def test_gradients_of_the_image_encoder_are_right():
    with torch.no_grad():
        sam = build_sam(SamSizes(dim=8, depth=2, heads=2, global_blocks=(1,), grid=8), 128).double()
    images = _images(128, count=1).double().requires_grad_()

    def loss(images: Tensor) -> Tensor:
        features = sam.encode_image(images)
        return (features * noise(features.numel(), salt=5).reshape(features.shape)).sum()

    loss(images).backward()
    spot, step = (0, 1, 40, 70), 1e-5
    with torch.no_grad():
        moved = [images.detach().clone() for _ in range(2)]
        moved[0][spot] += step
        moved[1][spot] -= step
        higher, lower = (loss(image) for image in moved)
    assert float(images.grad[spot]) == pytest.approx(float((higher - lower) / (2 * step)), rel=1e-4)


@pytest.mark.parametrize(("size", "encoder", "total"), [("b", 89_670_912, 93_735_472), ("h", 637_026_048, 641_090_608)])
def test_parameter_counts_are_the_published_ones(size, encoder, total):
    with torch.device("meta"):
        sam = Sam(SIZES[size], 1024)
    frequencies = 256  # the random frequencies of the position encoding, which the official code does not count
    assert sum(p.numel() for p in sam.vision.parameters()) == encoder
    assert sum(p.numel() for p in sam.parameters()) - frequencies == total


@pytest.mark.parametrize("size", [112, 100, 500, 1040, 0, -128])
def test_image_sizes_that_sam_cannot_take(weights_file, size):
    with pytest.raises(UnknownSetting, match=r"multiple|steps of 16"):
        load_sam(weights_file, image_size=size)


def test_an_image_of_another_size_is_refused(sam):
    with pytest.raises(ValueError, match="128"):
        sam.encode_image(_images(128))


def test_random_sam_is_complete_and_reproducible():
    outs = []
    for _ in range(2):
        torch.manual_seed(5)
        outs.append(_run(build_sam(TINY_SIZES, 128), _images(128), _boxes(128)))
    for name, out in outs[0].items():
        assert torch.isfinite(out).all()
        torch.testing.assert_close(out, outs[1][name], rtol=0, atol=0)
    assert outs[0]["features"].std() > 0.1


def test_loaded_sam_is_in_evaluation_mode(sam):
    assert not any(module.training for module in sam.modules())
