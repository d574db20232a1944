"""SAM as an oracle: its prompts from the truth, its masks, and that it is never trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.sam import NOT_PROMPTED, PointPromptedSam, innermost_pixel
from sautomed.config import Settings, TrainSettings, load_settings
from sautomed.config.baselines import SamSettings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.inference.segmenting import segment_slices, segment_volume
from sautomed.model.sam.keys import SIZES
from sautomed.model.sam.network import Sam
from sautomed.model.sam.trunk import SAM_MEAN, SAM_STD
from sautomed.scans.grid import NativeGrid
from sautomed.scans.volume import LabelMap, Volume
from sautomed.training.plan import TrainingPlan
from sautomed.training.train import train

from ..model.sam import sam_reference
from ..model.sam.official_layout import Tiny, noise, official_state, write_official

SIZE = 128


class Reader:
    """A volume of noise with two organs: a square on slices 1 to 3, a bar on slice 2; slices 0 and 4 are empty."""

    depth = 5

    def __init__(self):
        self._images = noise(self.depth * SIZE * SIZE, 5).reshape(-1, 1, SIZE, SIZE).expand(-1, 3, -1, -1).abs()
        self._truth = torch.zeros(self.depth, SIZE, SIZE, dtype=torch.long)
        self._truth[1:4, 20:51, 30:61] = 1
        self._truth[2, 80:83, 10:101] = 2

    def images(self, rows):
        return self._images[list(rows)]

    def truth(self, rows):
        return self._truth[list(rows)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("weights") / "sam_tiny.pth")


def model_of(weights, prompt="points", classes=2):
    trunk = {"kind": "sam", "weights": str(weights)}
    return build_segmenter(SamSettings(prompt=prompt, trunk=trunk), classes, SIZE).eval()


def predicted(model, reader=None, chunk=2):
    found = model.predict(reader or Reader(), Settings().segment.model_copy(update={"chunk": chunk}))
    return {slice_.index: slice_ for slice_ in found}


def reference(t: int, prompt):
    """Compute SAM's four masks and IoUs by plain functions; `prompt` returns the prompt tokens for a state dict."""
    net, grid = Tiny(), SIZE // 16
    state = sam_reference.stretch(official_state(), grid, net.global_blocks)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (SAM_MEAN, SAM_STD))
    f = sam_reference.features(state, (255 * Reader().images([t])[0] - mean) / std, net.heads, net.global_blocks)
    return sam_reference.decode(state, f, prompt(state), sam_reference.dense(state, grid))


# --- the innermost pixel ---


def test_the_innermost_pixel_of_a_square_is_its_middle():
    mask = np.zeros((20, 30), bool)
    mask[3:10, 12:19] = True
    assert innermost_pixel(mask) == (15, 6)


def test_the_larger_of_two_parts_counts_though_the_smaller_is_thicker():
    mask = np.zeros((40, 40), bool)
    mask[2:7, 2:7] = True
    mask[20:23, 1:39] = True
    column, row = innermost_pixel(mask)
    assert row == 21
    assert 1 < column < 38


def test_the_border_of_the_image_is_an_edge():
    assert innermost_pixel(np.ones((9, 9), bool)) == (4, 4)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
@settings(max_examples=60, deadline=None)
def test_the_innermost_pixel_is_inside_the_mask(mask):
    column, row = innermost_pixel(mask)
    assert mask[row, column]


# --- prompts and masks ---


def test_a_point_gives_the_mask_with_the_highest_predicted_iou(weights):
    masks, iou = reference(1, lambda state: sam_reference.point(state, torch.tensor([45.0, 35.0]), SIZE))
    found = predicted(model_of(weights))[1]
    torch.testing.assert_close(found.logits[1], masks[1 + iou[1:].argmax()], rtol=1e-4, atol=1e-4)
    assert found.boxes is None


def test_a_box_gives_sams_single_mask(weights):
    masks, _ = reference(2, lambda state: sam_reference.sparse(state, torch.tensor([10.0, 80.0, 100.0, 82.0]), SIZE))
    found = predicted(model_of(weights, "box"))[2]
    torch.testing.assert_close(found.logits[2], masks[0], rtol=1e-4, atol=1e-4)


def test_boxes_that_were_prompts_are_returned(weights):
    found = predicted(model_of(weights, "box"))
    assert [found[t].present.tolist() for t in range(5)] == [
        [False, False], [True, False], [True, True], [True, False], [False, False],
    ]  # fmt: skip
    assert (SIZE * found[2].boxes).tolist() == [[30, 20, 61, 51], [10, 80, 101, 83]]


def test_an_organ_without_a_prompt_is_not_predicted_and_the_background_is_zero(weights):
    found = predicted(model_of(weights))
    for t in (0, 4):
        assert not found[t].logits.argmax(0).any()
    assert (found[1].logits[2] == NOT_PROMPTED).all()
    assert not any(slice_.logits[0].any() for slice_ in found.values())


@pytest.mark.parametrize("prompt", ["points", "box"])
def test_the_size_of_chunks_does_not_matter(weights, prompt):
    model = model_of(weights, prompt)
    one, five = predicted(model, chunk=1), predicted(model, chunk=5)
    assert one.keys() == five.keys() == set(range(5))
    for t in range(5):
        torch.testing.assert_close(one[t].logits, five[t].logits, rtol=1e-4, atol=1e-4)


def volume_and_truth():
    labels = np.zeros((3, 40, 50), np.uint8)
    labels[1, 10:20, 5:30] = 7
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    affine = np.diag([5.0, 2.0, 2.0, 1.0])
    volume = Volume(image, affine, NativeGrid(image.shape, affine), "axial")
    return volume, LabelMap(labels, affine, volume.native, volume.plane, {3: "a", 7: "b"})


def experiment(weights, **model):
    data = {"image_size": SIZE, "plane": "axial", "modality": "other"}
    trunk = {"kind": "sam", "weights": str(weights)}
    return Settings.model_validate({"model": {"name": "sam", "trunk": trunk, **model}, "data": data})


def test_without_the_truth_there_are_no_prompts(weights):
    volume, truth = volume_and_truth()
    with pytest.raises(errors.PromptsNeeded):
        segment_volume(model_of(weights), volume, experiment(weights), truth.names)


def test_a_volume_is_labelled_only_where_the_truth_has_an_organ(weights):
    volume, truth = volume_and_truth()
    found = segment_volume(model_of(weights), volume, experiment(weights), truth.names, truth=truth)
    assert not found.array[[0, 2]].any()
    assert set(np.unique(found.array)) <= {0, 7}


def test_boxes_are_returned_in_native_pixels(weights):
    volume, truth = volume_and_truth()
    parts = segment_slices(model_of(weights, "box"), volume, experiment(weights, prompt="box"), truth.names, truth)
    boxes = {part.index: part.boxes for part in parts}
    assert np.isnan(boxes[0]).all()
    assert np.isnan(boxes[1][0]).all()
    np.testing.assert_allclose(boxes[1][1], [5, 10, 30, 20], atol=0.5)


# --- not trained ---


def test_it_has_the_published_number_of_parameters_and_none_is_trained():
    with torch.device("meta"):
        model = PointPromptedSam(Sam(SIZES["b"], 1024), 8)
    assert sum(p.numel() for p in model.parameters()) == 93_735_472
    assert not any(p.requires_grad for p in model.parameters())


def test_it_has_no_losses(weights):
    with pytest.raises(errors.UsageError, match="never trained"):
        model_of(weights).losses(None, TrainSettings(), torch.Generator())


@pytest.mark.parametrize("kind", ["resnet", "efficientnet_lite0"])
def test_another_trunk_is_refused(kind):
    with pytest.raises(errors.UnknownSetting, match="SAM's weights"):
        build_segmenter(SamSettings(trunk={"kind": kind}), 2, SIZE)


def test_a_model_folder_holds_only_the_position_encodings(weights, tmp_path):
    model = model_of(weights, "box")
    save_bundle(tmp_path / "model", Bundle(model, experiment(weights, prompt="box"), {1: "a", 2: "b"}, "MR"))
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {tuple(tensor.shape) for tensor in saved.values()} == {(2, 128)}
    again = load_bundle(tmp_path / "model").network
    assert again.prompts == "box"
    assert torch.equal(predicted(again, chunk=5)[2].logits, predicted(model, chunk=5)[2].logits)


@pytest.mark.slow
def test_the_verb_train_writes_a_scored_model_folder_without_training(weights, dataset_folder, tmp_path):
    settings = experiment(weights).model_copy(update={"preset": "sam"})
    model = train(TrainingPlan(dataset_folder, tmp_path / "run", settings, device="cpu"))
    metrics = json.loads((model / "metrics.json").read_text())
    assert metrics["steps"] == 0
    assert metrics["validation"]["dsc"].keys() == {"bright", "dark"}
    assert not (tmp_path / "run" / "fold_0" / "checkpoints").exists()
    assert load_bundle(model).network.prompts == "points"


def test_the_preset_is_the_published_setting():
    preset = load_settings("sam")
    assert (preset.model.name, preset.model.prompt, preset.data.image_size) == ("sam", "points", 1024)
