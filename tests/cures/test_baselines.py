"""Refusals of the compared systems, followed to the letter."""

import re

import numpy as np
import pytest
import torch

from sautomed.baselines import MODELS, build_empty_segmenter, build_segmenter
from sautomed.config import SYSTEMS
from sautomed.config.baselines import SamedSettings, SlideSamSettings
from sautomed.model.sam.keys import SamSizes
from sautomed.model.sam.pretrained import PretrainedTrunk, TrunkShape

from ..baselines import test_samed as samed
from ..baselines.ma_sam import small as ma_sam
from ..baselines.ma_sam import test_checkpoint as ma_sam_checkpoint
from ..baselines.slide_sam import test_checkpoint as slide_sam
from ..baselines.swin_unet import test_weights as swin_unet
from ..baselines.test_models import SMALL
from ..baselines.transunet import test_weights as transunet
from ..model.sam.official_layout import write_official

ORGANS = 2
RESNET = SMALL["samed"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


def build(settings, size=128):
    return build_segmenter(settings, ORGANS, size)


def system(name, **changes):
    return SYSTEMS[name].model_validate({**SMALL[name], **changes})


SIZES = [
    ("baselines/dynunet.py window_strides UnknownSetting", "dynunet", 130, r"a multiple of (\d+)"),
    ("baselines/swinunetr.py __init__ UnknownSetting", "swinunetr", 80, r"a multiple of (\d+)"),
    ("baselines/swin_unet/network.py build UnknownSetting", "swin_unet", 128, r"Set it to (\d+),"),
    ("baselines/transunet/network.py build UnknownSetting", "transunet", 130, r"a multiple of (\d+)"),
]


@pytest.mark.parametrize(("key", "name", "size", "pattern"), SIZES)
def test_an_image_size_that_the_system_takes(refuse_call, key, name, size, pattern):
    refusal = refuse_call(key, build, system(name), size)
    number = int(refusal.take(pattern))
    refusal.works(system(name), number if number > 100 else size // number * number)


def test_all_sizes_of_swin_unet_that_are_named():
    """The first is built above; the others are whole windows at every scale, too."""
    from sautomed.baselines.swin_unet.network import WINDOW

    with pytest.raises(Exception, match="Set it to") as caught:
        build(system("swin_unet"), 128)
    sides = [int(side) for side in re.findall(r"\d{3}", caught.value.cure)]
    assert all(side % (32 * WINDOW) == 0 for side in sides)


# --- SAM as it is ---


def test_sam_needs_its_own_trunk(refuse_call, weights):
    def with_trunk(trunk):
        return build(system("sam", trunk=trunk))

    refusal = refuse_call("baselines/sam.py build UnknownSetting", with_trunk, RESNET["trunk"])
    key, value = refusal.take(r"Use model\.trunk\.(kind)=(\w+) with")
    refusal.works({key: value, "weights": str(weights)})


def test_sam_is_not_trained_but_others_are(refuse_call, weights):
    sam = build(system("sam", trunk={"weights": str(weights)}))
    refusal = refuse_call("baselines/sam.py losses UsageError", sam.losses, None, None, None)
    names = refusal.take(r"Train (\w+), (\w+) or (\w+), which start from SAM")
    assert set(names) <= set(MODELS)
    for name in names:
        assert any(parameter.requires_grad for parameter in build(system(name)).parameters())
        assert MODELS[name].build is not None


def test_a_system_without_a_trunk_of_its_own(refuse_call):
    origin = PretrainedTrunk("sam.pth", "0" * 64, "sam", TrunkShape(SamSizes(16, 2, 2, (1,), 8), 4))
    key = "baselines/models.py build_empty UnknownSetting"
    refusal = refuse_call(key, build_empty_segmenter, system("transunet"), ORGANS, 128, origin)
    refusal.asks("Leave it out")
    assert build(system("transunet"))


# --- published checkpoints ---


def test_a_checkpoint_of_ma_sam(refuse_call, weights, tmp_path):
    other = ma_sam_checkpoint.write(tmp_path / "epoch_1.pth", organs=5)
    key = "baselines/ma_sam/checkpoint.py load_published WrongWeights"
    refusal = refuse_call(key, ma_sam_checkpoint.loaded, weights, other)
    refusal.asks("MA-SAM's epoch_N.pth", "the number of organs it was trained for")
    refusal.works(weights, ma_sam_checkpoint.write(tmp_path / "epoch_2.pth"))
    assert ma_sam.ORGANS == ORGANS


def test_a_checkpoint_of_samed(refuse_call, weights, tmp_path):
    def load(change):
        return build(samed.on_sam(weights, checkpoint=samed.write(tmp_path, change)))

    key = "baselines/samed.py load_published WrongWeights"
    refusal = refuse_call(key, load, lambda state: state.update(samed.published(organs=5)))
    refusal.asks("SAMed's epoch_159.pth", "as it was trained").works(lambda state: None)


@pytest.mark.parametrize("cure", ["sam", "without"])
def test_a_checkpoint_of_samed_on_another_trunk(refuse_call, weights, tmp_path, cure):
    path = samed.write(tmp_path)
    key = "baselines/samed.py _check UnknownSetting"
    refusal = refuse_call(key, build, SamedSettings(**RESNET, checkpoint=path))
    if cure == "sam":
        assert refusal.take(r"model\.trunk\.kind=(\w+)") == "sam"
        refusal.works(samed.on_sam(weights, checkpoint=path))
    else:
        refusal.asks("or leave the checkpoint out").works(SamedSettings(**RESNET))


def test_the_head_of_samed_on_sam(refuse_call, weights):
    refusal = refuse_call(
        "baselines/samed.py _check UnknownSetting 2", build, samed.on_sam(weights, decoder={"head": "full"})
    )
    refusal.works(samed.on_sam(weights, decoder={"head": refusal.take(r"Set it to (\w+)")}))


@pytest.mark.parametrize("lora", [{"targets": ("q",)}, {"alpha": 8.0}])
def test_the_adapters_of_a_checkpoint_of_samed(refuse_call, weights, tmp_path, lora):
    def with_lora(changes):
        trunk = {"weights": str(weights), "lora": {"rank": samed.RANK, **changes}}
        return build(SamedSettings(trunk=trunk, checkpoint=samed.write(tmp_path)))

    refusal = refuse_call("baselines/samed.py _check UnknownSetting 3", with_lora, lora)
    refusal.asks("the targets and the scale of LoRA at their defaults").works({})


def test_the_head_of_slide_sam_on_sam(refuse_call, weights):
    def with_head(head):
        return build(SlideSamSettings(trunk={"weights": str(weights)}, decoder={"head": head}))

    refusal = refuse_call("baselines/slide_sam/build.py assemble UnknownSetting", with_head, "full")
    refusal.works(refusal.take(r"Set it to (\w+)"))


SLIDE_SAM = [
    ("baselines/slide_sam/build.py _check_fixed_sizes UnknownSetting", {"dim": 128}, "Leave model.dim"),
    (
        "baselines/slide_sam/build.py _check_fixed_sizes UnknownSetting 2",
        {"lora": {"targets": ("q",)}},
        "Leave model.trunk.lora.alpha and .targets",
    ),
]


@pytest.mark.parametrize(("key", "changes", "words"), SLIDE_SAM)
def test_the_sizes_of_a_published_slide_sam(refuse_call, tmp_path, key, changes, words):
    path = slide_sam.write(tmp_path / "model.pth", slide_sam.published())

    def build_with(changes):
        trunk = {"weights": str(path)} | {name: value for name, value in changes.items() if name == "lora"}
        rest = {name: value for name, value in changes.items() if name != "lora"}
        return build(SlideSamSettings(trunk=trunk, **rest), slide_sam.GRID_SIZE)

    refuse_call(key, build_with, changes).asks(words).works({})


def test_a_checkpoint_of_slide_sam(refuse_call, tmp_path):
    good = slide_sam.published(second=True)
    bad = dict(good)
    name = next(key for key in bad if ".attn.qkv.linear_b_q" in key)
    bad[name] = bad[name][:, :0]

    def load(state):
        path = slide_sam.write(tmp_path / "model.pth", state)
        return build(SlideSamSettings(trunk={"weights": str(path)}), slide_sam.GRID_SIZE)

    refusal = refuse_call("baselines/slide_sam/checkpoint.py _wrong_weights WrongWeights", load, bad)
    refusal.asks("Slide-SAM's model.pth, which holds the whole network").works(good)


# --- weights from ImageNet ---


def build_transunet(path):
    extra = {} if path is None else {"weights": str(path)}
    return build(system("transunet", **transunet.SMALL, **extra), 32)


def build_swin(path):
    extra = {} if path is None else {"weights": str(path)}
    return build(system("swin_unet", **swin_unet.SMALL, **extra), 224)


def missing(path):
    path.unlink()


def without_an_array(path):
    arrays = transunet.published()
    arrays.pop("embedding/bias")
    np.savez(path, **arrays)


def with_objects(path):
    np.savez(path, **transunet.published() | {"embedding/bias": np.array([{}], dtype=object)})


def with_damage(path):
    content = bytearray(path.read_bytes())
    content[2000:2200] = bytes(200)
    path.write_bytes(content)


def no_archive(path):
    path.write_bytes(b"model: transunet\n")


TRANSUNET = [
    ("baselines/pretrained.py find_weights_file WeightsNotFound", missing),
    ("baselines/pretrained.py refuse_faults WrongWeights", without_an_array),
    ("baselines/transunet/weights.py _read_array UnsafeWeights", with_objects),
    ("baselines/transunet/weights.py _damaged DamagedWeights", with_damage),
    ("baselines/transunet/weights.py _not_npz WrongWeights", no_archive),
]


@pytest.mark.parametrize("cure", ["give", "without"])
@pytest.mark.parametrize(("key", "spoil"), TRANSUNET)
def test_weights_of_transunet(refuse_call, tmp_path, key, spoil, cure):
    path = transunet.write(tmp_path, transunet.published())
    spoil(path)
    refusal = refuse_call(key, build_transunet, path)
    if cure == "give":
        refusal.take(r"Give R50\+ViT-B_16\.npz of Google|Download or copy the file again")
        transunet.write(tmp_path, transunet.published())
        refusal.works()
    elif "leave" in refusal.error.cure:
        refusal.asks("or leave model.weights out").works(None)


@pytest.mark.parametrize("cure", ["give", "without"])
def test_weights_of_swin_unet(refuse_call, tmp_path, cure):
    path = swin_unet.write(tmp_path, swin_unet.published())
    torch.save([1], path)
    refusal = refuse_call("baselines/swin_unet/weights.py _read WrongWeights", build_swin, path)
    if cure == "give":
        refusal.works(swin_unet.write(tmp_path, swin_unet.published()).with_name(refusal.take(r"Give (\S+\.pth) of")))
    else:
        refusal.asks("or leave model.weights out").works(None)
