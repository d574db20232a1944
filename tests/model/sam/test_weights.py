"""Reading SAM's weights: every layout that they come in, how images are scaled for them, and what is refused."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamModel

from sautomed.errors import EXIT_MODEL, WeightsNotFound, WrongWeights
from sautomed.model.sam.keys import POSITION_KEY, TIED_KEY, SamSizes, official_name, to_official
from sautomed.model.sam.parts import expected_shapes
from sautomed.model.sam.weights import read_sam_weights

from .official_layout import Tiny, official_state, write_official

TINY = Tiny()
TINY_SIZES = SamSizes(TINY.dim, TINY.depth, TINY.heads, TINY.global_blocks, TINY.grid)
STATE = official_state()
IOU_TOKEN = STATE["mask_decoder.iou_token.weight"]


@pytest.fixture
def official(tmp_path):
    """Write the tiny official state, changed or not, into this test's folder; returns its path."""

    def write(change=None, name="sam_tiny.pth", **options):
        return write_official(tmp_path / name, change, **options)

    return write


@pytest.fixture(scope="session")
def transformers_folder(tmp_path_factory):
    """What transformers itself writes for the tiny SAM: it stores the tied position encoding once."""
    folder = tmp_path_factory.mktemp("hub") / "sam-tiny"
    vision = {
        "hidden_size": TINY.dim,
        "num_hidden_layers": TINY.depth,
        "num_attention_heads": TINY.heads,
        "global_attn_indexes": list(TINY.global_blocks),
        "image_size": 16 * TINY.grid,
    }
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config={"image_size": 16 * TINY.grid}))
    model.load_state_dict(_transformers_state())
    model.save_pretrained(folder)
    return folder


def _transformers_state() -> dict[str, torch.Tensor]:
    names = {official_name(key): key for key in expected_shapes(TINY_SIZES)}
    state = {names[name]: tensor for name, tensor in STATE.items()}
    return {**state, TIED_KEY: state[POSITION_KEY].clone()}


def _same(weights) -> bool:
    """Whether the weights are STATE, whichever way they came."""
    back = to_official(weights.state)
    return back.keys() == STATE.keys() and all(torch.equal(back[name].float(), STATE[name]) for name in STATE)


# --- Containers and layouts: all give the same weights ---


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_file_and_training_checkpoints(official, wrapper, prefix):
    def change(state):
        state = {prefix + name: tensor for name, tensor in state.items()}
        return {wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}} if wrapper else state

    weights = read_sam_weights(official(change))
    assert _same(weights)
    assert (weights.layout, weights.input_norm, weights.sizes) == ("official", "sam", TINY_SIZES)


def test_old_pytorch_format(official):
    assert _same(read_sam_weights(official(_use_new_zipfile_serialization=False)))


def test_parameters_instead_of_tensors(official):
    path = official(lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()})
    weights = read_sam_weights(path)
    assert _same(weights)
    assert not any(tensor.requires_grad for tensor in weights.state.values())


def test_official_names_in_safetensors_under_any_file_name(tmp_path):
    save_file(STATE, tmp_path / "weights.bin")
    assert _same(read_sam_weights(tmp_path / "weights.bin"))


def test_folder_that_transformers_wrote(transformers_folder):
    weights = read_sam_weights(transformers_folder)
    assert _same(weights)
    assert weights.layout == "transformers"


@pytest.mark.parametrize("kept", [(TIED_KEY,), (POSITION_KEY,), (TIED_KEY, POSITION_KEY)])
def test_the_tied_position_encoding_under_either_name(tmp_path, kept):
    dropped = {TIED_KEY, POSITION_KEY} - set(kept)
    state = {key: tensor for key, tensor in _transformers_state().items() if key not in dropped}
    save_file(state, tmp_path / "model.safetensors")
    assert _same(read_sam_weights(tmp_path))
    assert _same(read_sam_weights(tmp_path / "model.safetensors"))


def test_the_tied_position_encoding_with_two_values(tmp_path):
    state = _transformers_state()
    state[TIED_KEY] = state[TIED_KEY] + 1
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WrongWeights, match="must be one tensor"):
        read_sam_weights(tmp_path)


def test_folder_with_a_pytorch_file(tmp_path):
    torch.save(_transformers_state(), tmp_path / "pytorch_model.bin")
    assert _same(read_sam_weights(tmp_path))


@pytest.fixture
def shards(tmp_path):
    state = _transformers_state()
    halves = {"a.safetensors": dict(list(state.items())[::2]), "b.safetensors": dict(list(state.items())[1::2])}
    for name, half in halves.items():
        save_file(half, tmp_path / name)
    index = {"weight_map": {key: name for name, half in halves.items() for key in half}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_shards(shards):
    assert _same(read_sam_weights(shards))


def test_a_shard_that_is_not_there(shards):
    (shards / "b.safetensors").unlink()
    with pytest.raises(WeightsNotFound, match=r"b\.safetensors"):
        read_sam_weights(shards)


def test_the_hash_tells_numbers_not_containers(official, transformers_folder):
    hashes = {read_sam_weights(path).sha256 for path in (official(), transformers_folder)}
    assert len(hashes) == 1
    changed = official(lambda state: {**state, "mask_decoder.iou_token.weight": 1.001 * IOU_TOKEN}, name="other.pth")
    assert read_sam_weights(changed).sha256 not in hashes


def test_half_precision_files(official):
    weights = read_sam_weights(official(lambda state: {name: tensor.half() for name, tensor in state.items()}))
    torch.testing.assert_close(to_official(weights.state)["mask_decoder.iou_token.weight"].float(),
                               STATE["mask_decoder.iou_token.weight"], rtol=1e-3, atol=1e-3)  # fmt: skip


# --- Which images the weights want ---


@pytest.mark.parametrize(
    ("name", "norm"),
    [("sam_vit_b_01ec64.pth", "sam"), ("medsam_vit_b.pth", "medsam"), ("MedSAM_20230423_vit_b_0.0.1.pth", "medsam")],
)
def test_medsam_is_told_by_its_name(official, name, norm):
    assert read_sam_weights(official(name=name)).input_norm == norm


def test_a_folder_on_the_way_does_not_make_medsam(tmp_path):
    (tmp_path / "medsam-project").mkdir()
    path = tmp_path / "medsam-project" / "sam_vit_b.pth"
    torch.save(STATE, path)
    assert read_sam_weights(path).input_norm == "sam"


def test_the_folder_counts_where_the_file_has_no_name_of_its_own(tmp_path):
    folder = tmp_path / "medsam-vit-base"
    folder.mkdir()
    save_file(_transformers_state(), folder / "model.safetensors")
    assert read_sam_weights(folder).input_norm == "medsam"
    assert read_sam_weights(folder / "model.safetensors").input_norm == "medsam"


def test_a_hub_id_counts_as_a_name(monkeypatch, transformers_folder):
    monkeypatch.setattr("sautomed.model.sam.weights.find_weights", lambda source: transformers_folder)
    weights = read_sam_weights("wanglab/medsam-vit-base")
    assert (weights.input_norm, weights.source) == ("medsam", "wanglab/medsam-vit-base")
    assert read_sam_weights("facebook/sam-vit-base").input_norm == "sam"


def test_the_setting_overrules_the_name(official):
    path = official(name="medsam_vit_b.pth")
    assert read_sam_weights(path, input_norm="sam").input_norm == "sam"
    assert read_sam_weights(official(), input_norm="medsam").input_norm == "medsam"


# --- Wrong keys ---


def test_missing_unexpected_and_misshapen_keys_are_all_listed(official):
    def change(state):
        del state["mask_decoder.iou_token.weight"]
        del state["image_encoder.blocks.1.norm2.bias"]
        state["mask_decoder.mask_tokens.weight"] = torch.zeros(9, 256)
        state["extra.weight"] = torch.zeros(1)

    with pytest.raises(WrongWeights) as raised:
        read_sam_weights(official(change))
    message = str(raised.value)
    assert "2 missing: image_encoder.blocks.1.norm2.bias, mask_decoder.iou_token.weight." in message
    assert "1 unexpected: extra.weight." in message
    assert "1 misshapen: mask_decoder.mask_tokens.weight is (9, 256), not (4, 256)." in message
    assert (raised.value.id, raised.value.exit_code) == ("SAM-E0401", EXIT_MODEL)


def test_long_lists_are_counted(official):
    path = official(lambda state: {k: v for k, v in state.items() if not k.startswith("mask_decoder.transformer")})
    missing = sum(name.startswith("mask_decoder.transformer") for name in STATE)
    with pytest.raises(WrongWeights, match=rf"{missing} missing: .* and {missing - 24} more"):
        read_sam_weights(path)


def test_no_key_may_be_missing(monkeypatch):
    """Also those that the sizes are inferred from; one of each repeated part. Without files, which change nothing."""
    monkeypatch.setattr("sautomed.model.sam.weights.find_weights", lambda source: source)
    for name in (name for name in STATE if not re.search(r"blocks\.[12]|mlps\.[123]|layers\.1|token_to", name)):
        rest = {key: tensor for key, tensor in STATE.items() if key != name}
        monkeypatch.setattr("sautomed.model.sam.weights.read_tensors", lambda path, rest=rest: rest)
        with pytest.raises(WrongWeights) as raised:
            read_sam_weights("sam.pth")
        if name != "image_encoder.patch_embed.proj.weight":  # without it no image encoder is recognised at all
            assert f"1 missing: {name}." in str(raised.value)


def test_tensors_of_integers_and_broken_numbers(official):
    def change(state):
        state["image_encoder.neck.1.bias"] = torch.ones(256, dtype=torch.int64)
        state["mask_decoder.iou_token.weight"] = torch.full((1, 256), float("nan"))

    with pytest.raises(WrongWeights, match=r"not floating-point: image_encoder.neck.1.bias.*not finite: mask_decoder"):
        read_sam_weights(official(change))


# --- Other things that users give ---


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["w_a_000", "w_b_000", "mask_decoder.iou_token.weight"], "SAMed"),
        (["q_FacTs_000", "image_encoder.FacTu.weight"], "MA-SAM"),
        (["layers.0.blocks.0.attn.qkv.weight"], "Swin"),
        (["conv1.weight", "bn1.weight"], r"another network's \(2 entries: conv1.weight"),
    ],
)
def test_checkpoints_of_other_networks_are_named(official, keys, kind):
    with pytest.raises(WrongWeights, match=kind):
        read_sam_weights(official(lambda _: {key: torch.zeros(2) for key in keys}))


def test_slide_sam_is_named_among_the_faults(official):
    with pytest.raises(WrongWeights, match="Slide-SAM"):
        read_sam_weights(official(lambda s: {k.replace("qkv.weight", "qkv.qkv.weight"): v for k, v in s.items()}))


def test_a_dictionary_without_tensors(official):
    with pytest.raises(WrongWeights, match=r"without tensors \(its keys: epoch\)"):
        read_sam_weights(official(lambda _: {"epoch": 3}))
