"""Model folders: what is written is read back, a frozen trunk is left out, and what does not fit is named."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.config import Settings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle, write_predictor
from sautomed.inference.bundle_weights import trained_state
from sautomed.inference.confidence.predictor import fit_predictor
from sautomed.inference.confidence.shape import OrganSize
from sautomed.inference.percentiles import IntensityPercentiles
from sautomed.model.build import build
from sautomed.model.sam.keys import SamSizes, to_official
from sautomed.model.sam.network import build_sam

from ..conftest import SMALL_MODEL
from ..imagenet_package import install

LABELS = {1: "bright", 5: "dark"}
INTENSITIES = IntensityPercentiles(*map(float, range(9)))
PREDICTOR = fit_predictor([{"soft_dice": 0.5}, {"soft_dice": 0.9}], [0.5, 0.9], cases=2)
FILES = ("config.json", "dataset.json", "model.safetensors")


@pytest.fixture
def folder(small_model, small_settings, tmp_path):
    """A model folder that a test may damage."""
    save_bundle(tmp_path / "model", Bundle(small_model, small_settings, LABELS, "MR"))
    return tmp_path / "model"


def walk_logits(network, steps=3):
    """The logits of a short walk, to which every part contributes."""
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        state = network.start(1)
        for _ in range(steps):
            f = network.encode(torch.rand(3, 3, 128, 128, generator=generator)).split(1)
            out = network.step(network.share(*f), state)
            state = out.state
    return out.logits


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder, kind, match, weights=None):
    with pytest.raises(kind, match=match) as caught:
        load_bundle(folder, weights)
    assert type(caught.value) is kind
    assert caught.value.exit_code == errors.EXIT_MODEL
    return caught.value


# --- what is written is read ---


def test_a_model_comes_back_to_the_last_bit(folder, small_model, small_settings):
    bundle = load_bundle(folder)
    assert not bundle.network.training
    assert torch.equal(walk_logits(bundle.network), walk_logits(small_model))
    assert (bundle.settings, bundle.channel) == (small_settings, "MR")


def test_weights_in_float16_are_read_as_their_rounded_numbers(folder, small_model):
    halves = {name: x.half() if x.is_floating_point() else x for name, x in trained_state(small_model).items()}
    save_file(halves, folder / "model.safetensors")
    state = load_bundle(folder).network.state_dict()
    for name, value in small_model.state_dict().items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value.half().to(value.dtype) if value.is_floating_point() else value), name


def test_gaps_between_label_values_are_kept(folder):
    assert load_bundle(folder).labels == LABELS
    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "bright": 1, "dark": 5}


def test_a_trunk_from_scratch_is_saved_whole(folder, small_model):
    state = load_file(folder / "model.safetensors")
    assert state.keys() == small_model.state_dict().keys()


def test_the_intensities_of_the_training_come_back(small_model, small_settings, tmp_path):
    intensities = (INTENSITIES, INTENSITIES.plus(0.25))
    save_bundle(tmp_path / "model", Bundle(small_model, small_settings, LABELS, "MR", intensities))
    assert load_bundle(tmp_path / "model").intensities == intensities


def test_organ_sizes_and_the_predictor_come_back(small_model, small_settings, tmp_path):
    sizes = ({"bright": OrganSize(0.25, 30.0), "dark": OrganSize(1.5, 20.0)}, {"dark": OrganSize(1.25, 25.0)})
    whole = Bundle(small_model, small_settings, LABELS, "MR", (), sizes, PREDICTOR)
    save_bundle(tmp_path / "model", whole)
    found = load_bundle(tmp_path / "model")
    assert (found.organ_sizes, found.predictor) == (sizes, PREDICTOR)


def test_a_folder_without_organ_sizes_and_predictor_is_read(folder):
    found = load_bundle(folder)
    assert (found.organ_sizes, found.predictor) == ((), None)


def test_other_weights_do_not_keep_the_predictor_of_earlier_ones(folder, small_model, small_settings):
    write_predictor(folder, PREDICTOR)
    assert load_bundle(folder).predictor == PREDICTOR
    save_bundle(folder, Bundle(small_model, small_settings, LABELS, "MR"))
    assert load_bundle(folder).predictor is None


def test_other_weights_do_not_keep_the_check_in_bf16_of_earlier_ones(folder, small_model, small_settings):
    check = {"dsc": {}, "mean_dsc": 0.9, "difference": 0.0, "passed": True}
    (folder / "metrics.json").write_text(json.dumps({"bf16": check}))
    assert load_bundle(folder).bf16_check.passed
    save_bundle(folder, Bundle(small_model, small_settings, LABELS, "MR"))
    assert load_bundle(folder).bf16_check is None


def test_a_folder_without_intensities_is_read(folder):
    """Of an earlier version, or of a network that was never trained."""
    assert load_bundle(folder).intensities == ()


def test_nothing_but_the_three_files_is_left(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_a_trunk_trained_from_imagenet_weights_needs_their_package_no_more(monkeypatch, tmp_path, small_settings):
    file = install(monkeypatch, tmp_path / "package")
    trunk = {"kind": "efficientnet_lite0"}
    model = small_settings.model.model_dump() | {"trunk": trunk}
    settings = Settings.model_validate(small_settings.model_dump() | {"model": model})
    network = build(settings.model, 2, 128).eval()
    save_bundle(tmp_path / "model", Bundle(network, settings, LABELS, "MR"))
    file.unlink()
    with pytest.raises(errors.WeightsNotFound):
        build(settings.model, 2, 128)
    again = load_bundle(tmp_path / "model")
    assert torch.equal(walk_logits(again.network), walk_logits(network))
    assert again.settings == settings
    with pytest.raises(errors.UsageError, match="no pretrained trunk"):
        load_bundle(tmp_path / "model", "elsewhere.pth")


# --- a pretrained trunk: only what was trained, and the trunk's name and hash ---


def write_sam(path, seed=0):
    torch.manual_seed(seed)
    sam = build_sam(SamSizes(dim=16, depth=2, heads=2, global_blocks=(1,), grid=8), 128)
    parts = {"vision_encoder": sam.vision, "prompt_encoder": sam.prompt, "mask_decoder": sam.decoder}
    state = {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.state_dict().items()}
    torch.save(to_official(state), path)
    return path


@pytest.fixture
def on_sam(tmp_path):
    """A 3D-SAutoMed on a tiny SAM, its adapters away from zero: the network, its model folder, the trunk's file."""
    weights = write_sam(tmp_path / "sam_tiny.pth")
    settings = Settings.model_validate(
        {
            "model": {"trunk": {"kind": "sam", "weights": str(weights)}, "box_prompt": {"feedforward": 32}},
            "data": {"image_size": 128},
        }
    )
    network = build(settings.model, 2, 128).eval()
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "lora_" in name or (".proj" in name and not parameter.any()):
            torch.nn.init.normal_(parameter, std=0.1)
    save_bundle(tmp_path / "model", Bundle(network, settings, LABELS, "CT"))
    return network, tmp_path / "model", weights


def test_a_pretrained_trunk_comes_back_to_the_last_bit(on_sam):
    network, folder, _ = on_sam
    assert torch.equal(walk_logits(load_bundle(folder).network), walk_logits(network))


def test_of_a_pretrained_trunk_only_the_adapters_are_saved(on_sam):
    network, folder, _ = on_sam
    saved = load_file(folder / "model.safetensors")
    of_trunk = {name for name in saved if name.startswith("trunk.")}
    assert of_trunk == {name for name in network.state_dict() if "lora_" in name}
    assert len(of_trunk) == 2 * 2 * 2  # A and B, for q and v, in two blocks
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained <= saved.keys()
    frozen = sum(p.numel() for name, p in network.named_parameters() if name not in saved)
    assert frozen > 500_000  # the whole encoder, most of it the neck


def test_the_trunk_is_named_by_its_source_and_hash(on_sam):
    _, folder, weights = on_sam
    named = json.loads((folder / "config.json").read_text())["pretrained_trunk"]
    assert named["source"] == str(weights)
    assert len(named["sha256"]) == 64


def test_the_trunk_may_move_under_another_name_if_config_says_where(on_sam, tmp_path):
    """The input scaling that was trained with is kept, though "auto" goes by the file's name."""
    network, folder, weights = on_sam
    moved = weights.rename(tmp_path / "medsam_tiny.pth")
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["model"]["trunk"]["weights"] = str(moved)
    (folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(walk_logits(load_bundle(folder).network), walk_logits(network))


def test_another_trunk_is_refused(on_sam):
    _, folder, weights = on_sam
    write_sam(weights, seed=5)
    refused(folder, errors.TrunkChanged, r"sam_tiny\.pth with hash .* its masks would be wrong")


def test_a_missing_trunk_is_refused(on_sam):
    _, folder, weights = on_sam
    weights.unlink()
    refused(folder, errors.WeightsNotFound, r"sam_tiny\.pth.*--weights")


def test_a_trunk_that_moved_is_found_where_the_caller_says(on_sam, tmp_path):
    network, folder, weights = on_sam
    moved = weights.rename(tmp_path / "medsam_moved.pth")
    bundle = load_bundle(folder, str(moved))
    assert torch.equal(walk_logits(bundle.network), walk_logits(network))
    assert bundle.settings.model.trunk.weights == str(moved)


def test_where_the_caller_says_another_trunk_is_refused_all_the_same(on_sam, tmp_path):
    _, folder, _ = on_sam
    other = write_sam(tmp_path / "other.pth", seed=5)
    refused(folder, errors.TrunkChanged, r"masks would be wrong.*--weights", str(other))
    refused(folder, errors.WeightsNotFound, r"nowhere\.pth.*--weights", str(tmp_path / "nowhere.pth"))


def test_a_model_without_a_pretrained_trunk_takes_no_weights(folder):
    with pytest.raises(errors.UsageError, match="no pretrained trunk") as caught:
        load_bundle(folder, "sam.pth")
    assert caught.value.exit_code == errors.EXIT_USAGE


def test_a_trunk_named_from_here_is_found_from_elsewhere(on_sam, tmp_path, monkeypatch):
    network, _, weights = on_sam
    bundle = load_bundle(tmp_path / "model")
    trunk = bundle.settings.model.trunk.model_copy(update={"weights": weights.name})
    model = bundle.settings.model.model_copy(update={"trunk": trunk})
    monkeypatch.chdir(tmp_path)
    save_bundle(tmp_path / "again", replace(bundle, settings=bundle.settings.model_copy(update={"model": model})))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert torch.equal(walk_logits(load_bundle(tmp_path / "again").network), walk_logits(network))


def test_a_trunk_from_the_hub_keeps_its_name(small_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_bundle(tmp_path / "model", Bundle(small_model, Settings(), LABELS, "CT"))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["settings"]["model"]["trunk"]["weights"] == "facebook/sam-vit-base"


# --- what does not fit is named ---


@pytest.mark.parametrize("name", FILES)
def test_each_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, errors.NotAModel, f"{name} is missing")


@pytest.mark.parametrize("left", [0, 4, 5000])
def test_a_truncated_weights_file_is_refused(folder, left):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    refused(folder, errors.WrongWeights, r"model\.safetensors.*cannot be read")


def test_foreign_and_missing_keys_are_listed(folder):
    path = folder / "model.safetensors"
    state = load_file(path)
    state["stranger.weight"] = state.pop("decoder.mask_tokens")
    save_file(state, path)
    refused(folder, errors.WrongWeights, r"decoder\.mask_tokens is missing.*stranger\.weight is unexpected")


def test_shapes_that_do_not_fit_are_listed(folder):
    path = folder / "model.safetensors"
    state = load_file(path)
    state["decoder.mask_tokens"] = torch.zeros(4, 32)
    save_file(state, path)
    refused(folder, errors.WrongWeights, r"decoder\.mask_tokens has shape \(4, 32\) instead of \(3, 32\)")


def test_weights_of_another_configuration_are_refused(folder, small_settings):
    fewer = small_settings.model_dump(mode="json")
    fewer["model"]["prompt"] = False
    edit(folder / "config.json", settings=fewer)
    refused(folder, errors.WrongWeights, r"generator\.\S+ is unexpected")


def test_weights_of_another_number_of_organs_are_refused(folder):
    edit(folder / "dataset.json", labels={"background": 0, "bright": 1})
    refused(folder, errors.WrongWeights, "mask_tokens has shape")


@pytest.mark.parametrize("number", [0, 4, "1", None])
def test_another_format_number_is_refused(folder, number):
    edit(folder / "config.json", format=number)
    refused(folder, errors.NotAModel, r"config\.json.*1 to 3")


@pytest.mark.parametrize("number", [1, 2])
def test_an_earlier_3d_sautomed_is_refused_by_name(folder, number):
    edit(folder / "config.json", format=number)
    error = refused(folder, errors.NotAModel, f"3D-SAutoMed of the model format {number}")
    assert "Train it again" in error.cure


def earlier(model, folder, number):
    """Save a network of another system as a folder of an earlier format."""
    settings = Settings.model_validate({"model": model, "data": {"image_size": 128}})
    network = build_segmenter(settings.model, 2, 128)
    save_bundle(folder, Bundle(network, settings, LABELS, "MR"))
    edit(folder / "config.json", format=number)
    return network


def test_an_earlier_folder_of_another_system_is_read(tmp_path):
    network = earlier({"name": "dynunet", "slices": 4, "flat_stages": 1, "filters": 16}, tmp_path / "model", 1)
    assert load_bundle(tmp_path / "model").network.state_dict().keys() == network.state_dict().keys()


def test_an_earlier_folder_with_another_upscaling_is_refused_by_name(tmp_path):
    earlier({"name": "samed", **{key: SMALL_MODEL[key] for key in ("trunk", "dim", "decoder")}}, tmp_path / "model", 2)
    refused(tmp_path / "model", errors.NotAModel, "samed of the model format 2")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    refused(folder, errors.NotAModel, r"config\.json")


def test_settings_that_this_version_does_not_know_are_a_fault_of_the_model(folder, small_settings):
    edit(folder / "config.json", settings={**small_settings.model_dump(mode="json"), "flux": {"capacitor": 1}})
    refused(folder, errors.NotAModel, r"config\.json.*flux")


@pytest.mark.parametrize("missing", ["sha256", "source", "input_norm", "all", "type", "norm"])
def test_a_trunk_that_is_named_incompletely_is_a_fault_of_the_model(on_sam, missing):
    _, folder, _ = on_sam
    named = json.loads((folder / "config.json").read_text())["pretrained_trunk"]
    instead = {"all": None, "type": "sam", "norm": {**named, "input_norm": "auto"}}
    fewer = {key: value for key, value in named.items() if key != missing}
    edit(folder / "config.json", pretrained_trunk=instead.get(missing, fewer))
    refused(folder, errors.NotAModel, r"config\.json.*damaged.*pretrained_trunk")


def test_a_size_that_is_not_decided_is_a_fault_of_the_model(folder, small_settings):
    data = small_settings.data.model_copy(update={"image_size": "auto"})
    edit(folder / "config.json", settings=small_settings.model_copy(update={"data": data}).model_dump(mode="json"))
    refused(folder, errors.NotAModel, r"config\.json.*image_size is not decided")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "damaged.*one JSON object"),
        ("{}", "damaged.*training_cases"),
        ('{"training_cases": [{"least": 0}]}', r"damaged.*training_cases\.0\.p0_5"),
        ('{"training_cases": [7]}', r"damaged.*training_cases\.0"),
    ],
)
def test_damaged_intensities_are_a_fault_of_the_model(folder, text, match):
    (folder / "intensities.json").write_text(text)
    refused(folder, errors.NotAModel, rf"intensities\.json.*{match}")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"labels": {"background": 0}}', '{"labels": {"background": 0, "a": 1, "b": 2}}']
)
def test_a_damaged_dataset_json_is_a_fault_of_the_model(folder, text):
    (folder / "dataset.json").write_text(text)
    refused(folder, errors.NotAModel, r"dataset\.json")


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("organ_sizes.json", "[]", "damaged.*one JSON object"),
        ("organ_sizes.json", '{"training_cases": [{"bright": {"volume_ml": "much"}}]}', "damaged.*volume_ml"),
        ("confidence.json", "{", "not valid JSON"),
        ("confidence.json", '{"cases": 0}', "damaged.*cases"),
        ("confidence.json", '{"cases": 3, "slope": 1, "offset": 0, "luck": 1}', "damaged.*luck"),
    ],
)
def test_damaged_sizes_and_predictors_are_a_fault_of_the_model(folder, name, text, match):
    (folder / name).write_text(text)
    refused(folder, errors.NotAModel, rf"{name}.*{match}")
