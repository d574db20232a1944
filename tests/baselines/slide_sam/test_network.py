"""Slide-SAM: its published size, its initial and trained parameters, that it learns, and whole volumes."""

import pytest
import torch
from safetensors.torch import load_file

from sautomed import errors
from sautomed.baselines import build_segmenter
from sautomed.baselines.slide_sam.build import assemble
from sautomed.baselines.slide_sam.propagation import Rules
from sautomed.config import SamTrunkSettings, SegmentSettings, Settings, TrainSettings, load_settings
from sautomed.config.baselines import SlideSamSettings
from sautomed.inference.bundle import Bundle, load_bundle, save_bundle
from sautomed.inference.resize import channel_slices
from sautomed.inference.view import with_channels
from sautomed.model.build import MadeTrunk
from sautomed.model.sam.keys import SIZES
from sautomed.model.sam.network import Sam
from sautomed.model.sam.trunk import SamTrunk
from sautomed.training.slice_runs import SliceRun

from ...model.sam import sam_reference
from ...model.sam.official_layout import official_state
from .conftest import ORGANS, SIZE, boxes, from_scratch, images, make_model, on_sam


def predict(model, batch, prompts):
    with torch.no_grad():
        return model.decode(model.encode(batch), model.prompt_encoder.boxes(prompts))


# --- sizes ---


def test_it_has_the_published_number_of_parameters():
    with torch.device("meta"):
        sam = Sam(SIZES["b"], 1024)
        model = assemble(SlideSamSettings(), MadeTrunk(SamTrunk(sam.vision, "sam", 8), sam), 8, 1024)
    counts = {name: p.numel() for name, p in model.named_parameters()}
    sam_alone, adapters, two_heads, mask_prompt = 93_735_472, 294_912, 2 * 73_952, 32
    assert sum(counts.values()) == sam_alone + adapters + two_heads + mask_prompt == 94_178_320
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen == 6_220 + mask_prompt + 139_808  # the prompt encoder, and the hypernetwork of the single answer


def test_it_predicts_three_hypotheses_of_three_slices(settings):
    masks, iou = predict(make_model(settings), images(2), boxes(2))
    assert masks.shape[:3] == (2, 3, 3)
    assert masks.shape[-1] == SIZE // (4 if isinstance(settings.trunk, SamTrunkSettings) else 2)
    assert iou.shape == (2, 3)


def test_a_batch_equals_its_triplets_one_by_one(settings):
    model = make_model(settings)
    together = predict(model, images(), boxes())
    alone = [predict(model, images()[i : i + 1], boxes()[i : i + 1]) for i in range(3)]
    for i, part in enumerate(together):
        torch.testing.assert_close(part, torch.cat([one[i] for one in alone]), rtol=1e-4, atol=1e-4)


def test_organs_of_a_slice_together_equal_each_by_itself(settings):
    model = make_model(settings)
    with torch.no_grad():
        features = model.encode(images(1))
        together = model.masks_in_boxes(features, boxes())
        for i in range(3):
            alone = model.masks_in_boxes(features, boxes()[i : i + 1])
            torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(alone.iou[0], together.iou[i], rtol=1e-4, atol=1e-4)


# --- initial parameters and input ---


def test_each_of_the_three_slices_starts_with_sams_masks(weights):
    model = build_segmenter(on_sam(weights), ORGANS, SIZE).eval()
    grid = SIZE // 16
    state = sam_reference.stretch(official_state(), grid, (2,))
    box = boxes(1)
    with torch.no_grad():
        features = model.encode(images(1))
        masks, iou = model.decode(features, model.prompt_encoder.boxes(box))
    corners = box[0] * SIZE - torch.tensor([0.0, 0.0, 1.0, 1.0])
    sparse = sam_reference.sparse(state, corners, SIZE)
    reference, reached = sam_reference.decode(state, features.coarse[0], sparse, sam_reference.dense(state, grid))
    for place in range(3):
        torch.testing.assert_close(masks[0, :, place], reference[1:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(iou[0], reached[1:], rtol=1e-3, atol=1e-3)


def test_three_slices_are_stretched_together_unless_they_are_flat(settings):
    model, seen = make_model(settings), []
    model.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = 0.2 + 0.5 * images(2)
    batch[1] = 0.3
    with torch.no_grad():
        model.encode(batch)
    assert (seen[0][0].min(), seen[0][0].max()) == (0, 1)
    order = batch[0].flatten().argsort()
    assert (seen[0][0].flatten()[order].diff() >= 0).all()
    assert torch.equal(seen[0][1], batch[1])


# --- trained parameters ---


def example(batch=2):
    labels = torch.zeros(batch, 3, SIZE, SIZE, dtype=torch.long)
    labels[:, :, 20:60, 30:80] = 1
    labels[:, 1:, 80:110, 40:70] = 2
    image = 0.2 + 0.3 * labels.float()
    padded = torch.cat([image[:, :1], image, image[:, -1:]], 1)
    trios = [channel_slices(t, 5, "neighbours") for t in range(5)]
    return SliceRun(padded[:, torch.tensor(trios)], labels, torch.ones(batch, dtype=torch.bool), labels[:, 0])


def test_gradients_reach_exactly_the_trained_parameters(settings):
    model = make_model(settings).train()
    model.losses(example(), TrainSettings(), torch.Generator())["loss"].backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    if model.pretrained:
        assert {name for name in reached if name.startswith("trunk.")} == {
            name for name, _ in model.named_parameters() if name.startswith("trunk.")
        }
        assert not any(name.startswith("prompt_encoder.") for name in reached)


def test_an_example_without_an_organ_has_a_loss_and_a_gradient_of_zero(settings):
    model, run = make_model(settings).train(), example()
    labels = run.labels.clone()
    labels[:, 1] = 0  # the neighbours show them
    losses = model.losses(run._replace(labels=labels), TrainSettings(), torch.Generator())
    assert {name: value.item() for name, value in losses.items()} == {"loss": 0, "focal": 0, "dice": 0, "iou": 0}
    losses["loss"].backward()
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None for p in model.parameters())


def test_the_input_is_the_middle_slice_with_its_neighbours(settings):
    model, run = make_model(settings), example()
    changed = run.images.clone()
    changed[:, [0, 1, 3, 4]] = 0
    for images_of_run in (run.images, changed):
        losses = model.losses(run._replace(images=images_of_run), TrainSettings(), torch.Generator().manual_seed(3))
        torch.testing.assert_close(
            losses["loss"], model.losses(run, TrainSettings(), torch.Generator().manual_seed(3))["loss"]
        )


@pytest.mark.slow
def test_it_learns_one_example(settings):
    torch.manual_seed(1)
    model = build_segmenter(settings, ORGANS, SIZE).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    losses = []
    for _ in range(14):
        loss = model.losses(example(1), TrainSettings(), torch.Generator().manual_seed(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# --- volumes ---


class View:
    def __init__(self, depth):
        self.depth = depth
        self.slices = torch.rand(depth, SIZE, SIZE, generator=torch.Generator().manual_seed(depth))
        self.labels = torch.zeros(depth, SIZE, SIZE, dtype=torch.long)
        self.labels[depth // 2 :, 20:60, 30:80] = 1

    def images(self, rows):
        return with_channels(lambda wanted: self.slices[wanted], rows, self.depth, "neighbours")

    def truth(self, rows):
        return self.labels[list(rows)]


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_volumes_of_any_depth_and_chunks_of_any_size(settings, depth):
    model, view = make_model(settings), View(depth)
    model.rules = Rules(0.05, 0, -1e9, 0.0, 0)  # so that an untrained network is trusted
    whole = list(model.predict(view, SegmentSettings(chunk=8)))
    assert [p.index for p in whole] == list(range(depth))
    assert whole[depth // 2].present.tolist() == [True, False]
    torch.testing.assert_close(whole[depth // 2].boxes[0], torch.tensor([30 / SIZE, 20 / SIZE, 80 / SIZE, 60 / SIZE]))
    assert not any((p.logits[2] > 0).any() for p in whole)
    for p, other in zip(whole, model.predict(view, SegmentSettings(chunk=1)), strict=True):
        torch.testing.assert_close(other.logits, p.logits, rtol=1e-2, atol=1e-2)
        assert torch.equal(other.present, p.present)


def test_a_volume_without_its_truth_is_refused(weights):
    class ViewWithoutTruth(View):
        def truth(self, rows):
            raise errors.PromptsNeeded("no truth", where="prompts", cure="")

    with pytest.raises(errors.PromptsNeeded):
        list(make_model(on_sam(weights)).predict(ViewWithoutTruth(2), SegmentSettings()))


# --- model folders, settings ---


def test_a_model_folder_gives_the_same_output_and_holds_all_parameters(settings, tmp_path):
    model = make_model(settings)
    whole = Settings.model_validate({"model": settings, "data": {"image_size": SIZE, "channels": "neighbours"}})
    save_bundle(tmp_path / "model", Bundle(model, whole, {1: "a", 2: "b"}, "CT"))
    assert load_file(tmp_path / "model" / "model.safetensors").keys() == model.state_dict().keys()
    back = load_bundle(tmp_path / "model").network
    for own, other in zip(predict(model, images(), boxes()), predict(back, images(), boxes()), strict=True):
        assert torch.equal(own, other)


def test_the_preset_is_the_published_recipe():
    settings = load_settings("slide-sam")
    assert settings.model == SlideSamSettings()
    assert settings.model.trunk.lora.rank == 8
    assert (settings.data.image_size, settings.data.channels, settings.data.window_hu) == (
        1024,
        "neighbours",
        (-200, 400),
    )
    assert (settings.train.learning_rate, settings.train.weight_decay, settings.train.batch) == (5e-6, 1e-4, 8)


def test_other_weights_keep_the_rank():
    assert SlideSamSettings(trunk={"weights": "x.pth"}).trunk.lora.rank == 8
    assert SlideSamSettings(trunk={"lora": {"rank": 2}}).trunk.lora.rank == 2
    assert from_scratch().trunk.kind == "resnet"


def test_a_head_at_full_resolution_is_refused_on_sam(weights):
    with pytest.raises(errors.UnknownSetting, match="stride 4"):
        build_segmenter(on_sam(weights, decoder={"head": "full"}), ORGANS, SIZE)
