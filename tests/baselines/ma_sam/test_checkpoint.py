"""MA-SAM's published checkpoints, with the names and shapes of its code, and files that are refused."""

from itertools import pairwise

import pytest
import torch

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.ma_sam.checkpoint import by_published_name
from sautomed.config import Settings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.model.sam.weights import read_sam_weights

from ...model.sam.official_layout import Tiny, noise, official_shapes
from .small import ORGANS, RANK, SIZE, WIDTH, make_model, on_sam, predict, stacks


def published_shapes(organs=ORGANS, rank=RANK) -> dict[str, tuple[int, ...]]:
    """Return the shapes that `Fact_tt_Sam.save_parameters` writes, in its order."""
    net = Tiny()
    shapes = {f"{letter}_FacTs_{i:03d}": (rank, rank) for letter in "qv" for i in range(net.depth)}
    shapes |= {"image_encoder.FacTu.weight": (rank, net.dim), "image_encoder.FacTv.weight": (net.dim, rank)}
    sam = official_shapes(net)
    shapes |= {key: shape for key, shape in sam.items() if key.startswith("prompt_encoder.")}
    shapes |= {key: shape for key, shape in sam.items() if key.startswith("mask_decoder.") and "upscaling" not in key}
    shapes["mask_decoder.mask_tokens.weight"] = (organs + 1, 256)
    place, widths = "mask_decoder.output_upscaling", (256, 64, 32, 16, 8)
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes |= {f"{place}.{3 * i}.weight": (inputs, outputs, 2, 2), f"{place}.{3 * i}.bias": (outputs,)}
        if i < 3:
            shapes |= {f"{place}.{3 * i + 1}.{kind}": (outputs,) for kind in ("weight", "bias")}
    shapes = {key: shape for key, shape in shapes.items() if "hypernetworks" not in key}
    for k in range(organs + 1):
        head = f"mask_decoder.output_hypernetworks_mlps.{k}.layers"
        shapes |= {f"{head}.{i}.weight": (256, 256) for i in (0, 1)} | {f"{head}.{i}.bias": (256,) for i in (0, 1)}
        shapes |= {f"{head}.2.weight": (8, 256), f"{head}.2.bias": (8,)}
    shapes |= {"mask_decoder.iou_prediction_head.layers.2.weight": (organs + 1, 256)}
    shapes |= {"mask_decoder.iou_prediction_head.layers.2.bias": (organs + 1,)}
    for i in range(net.depth):
        for second in ("", "_2"):
            part = f"image_encoder.ImageEncoderViT.blocks.{i}.Block.adapter_"
            shapes |= {f"{part}linear_down{second}.weight": (WIDTH, net.dim)}
            shapes |= {f"{part}linear_up{second}.weight": (net.dim, WIDTH)}
            shapes |= {f"{part}conv{second}.weight": (WIDTH, WIDTH, 3, 1, 1), f"{part}conv{second}.bias": (WIDTH,)}
            shapes |= {f"{part}norm{second}.{kind}": (net.dim,) for kind in ("weight", "bias")}
    return shapes


def write(path, change=None, **options):
    state = {
        name: 0.1 * noise(torch.Size(shape).numel(), salt).reshape(shape)
        for salt, (name, shape) in enumerate(published_shapes(**options).items())
    }
    if change:
        change(state)
    torch.save(state, path)
    return path


def loaded(weights, checkpoint):
    return build_segmenter(on_sam(weights, checkpoint=str(checkpoint)), ORGANS, SIZE).eval()


def test_every_tensor_of_a_checkpoint_is_loaded(weights, tmp_path):
    path = write(tmp_path / "epoch_299.pth")
    model, state = loaded(weights, path), torch.load(path, weights_only=True)
    own = by_published_name(model.trunk, model.head)
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], state[name]) for name in state)
    trunk, head = model.trunk, model.head
    block = "image_encoder.ImageEncoderViT.blocks.2.Block.adapter_"
    for tensor, name in (
        (trunk.fact.q_cores[1].weight, "q_FacTs_001"),
        (trunk.fact.v_cores[2].weight, "v_FacTs_002"),
        (trunk.fact.u.weight, "image_encoder.FacTu.weight"),
        (trunk.before_attention[2].down.weight, f"{block}linear_down.weight"),
        (trunk.before_mlp[2].conv.bias, f"{block}conv_2.bias"),
        (head.decoder.mask_tokens.weight, "mask_decoder.mask_tokens.weight"),
        (head.decoder.output_upscaling[9].weight, "mask_decoder.output_upscaling.9.weight"),
        (head.prompt.no_mask_embed.weight, "prompt_encoder.no_mask_embed.weight"),
    ):
        assert torch.equal(tensor, state[name]), name


def test_trained_parameters_come_from_the_checkpoint_and_the_encoder_from_sam(weights, tmp_path):
    model = loaded(weights, write(tmp_path / "epoch_299.pth"))
    own = by_published_name(model.trunk, model.head)
    named = {tensor.data_ptr() for tensor in own.values()}
    assert all(p.data_ptr() in named for p in model.parameters() if p.requires_grad)
    qkv = read_sam_weights(weights).state["vision_encoder.layers.1.attn.qkv.weight"]
    assert torch.equal(model.trunk.sam.vision.layers[1].attn.qkv.weight, qkv)
    assert model.pretrained.source == str(weights)


def test_a_checkpoint_changes_the_output(weights, tmp_path):
    model = loaded(weights, write(tmp_path / "epoch_299.pth"))
    assert not torch.allclose(predict(model, stacks(1)), predict(make_model(on_sam(weights)), stacks(1)), atol=1e-2)


def test_a_model_folder_is_loaded_without_the_checkpoint(weights, tmp_path):
    path = write(tmp_path / "epoch_299.pth")
    settings = Settings(model=on_sam(weights, checkpoint=str(path)), data={"image_size": SIZE})
    model = build_segmenter(settings.model, ORGANS, SIZE).eval()
    save_bundle(tmp_path / "model", Bundle(model, settings, {1: "liver", 2: "spleen"}, "CT"))
    path.unlink()
    again = load_bundle(tmp_path / "model").network
    assert torch.equal(predict(again, stacks(1)), predict(model, stacks(1)))


# --- files that do not fit ---


def refused(weights, path, match, kind=errors.WrongWeights):
    with pytest.raises(kind, match=match) as caught:
        loaded(weights, path)
    assert type(caught.value) is kind
    return caught.value


def test_a_missing_tensor_is_named(weights, tmp_path):
    path = write(tmp_path / "epoch_299.pth", lambda state: state.pop("q_FacTs_001"))
    assert "1 missing: q_FacTs_001" in str(refused(weights, path, "no MA-SAM checkpoint for 2 organs"))


def test_an_unexpected_tensor_is_named(weights, tmp_path):
    path = write(tmp_path / "epoch_299.pth", lambda state: state.update(w_a_000=torch.zeros(1)))
    refused(weights, path, "1 unexpected: w_a_000")


def test_a_checkpoint_for_other_organs_is_refused(weights, tmp_path):
    path = write(tmp_path / "epoch_299.pth", organs=ORGANS + 1)
    refused(weights, path, r"mask_tokens\.weight is \(4, 256\), not \(3, 256\)")


def test_a_checkpoint_of_another_rank_is_refused(weights, tmp_path):
    refused(weights, write(tmp_path / "epoch_299.pth", rank=RANK + 1), r"q_FacTs_000 is \(4, 4\), not \(3, 3\)")


def test_sam_itself_is_no_checkpoint(weights):
    refused(weights, weights, "q_FacTs_000.*rank")


def test_a_missing_checkpoint_is_refused(weights, tmp_path):
    refused(weights, tmp_path / "epoch_299.pth", "no such file", errors.WeightsNotFound)
