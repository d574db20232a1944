"""A training step: runs in anatomical order, detached boxes, weighed losses, the schedule and the average."""

import itertools

import numpy as np
import pytest
import torch

from sautomed.config import SegmentSettings, TrainSettings
from sautomed.errors import TrainingDiverged
from sautomed.model.boxes import boxes_of_labels
from sautomed.model.build import build
from sautomed.model.losses import box_loss, cross_entropy, dice_loss, presence_loss
from sautomed.model.segmenter import Features, SharedFeatures, SliceState, SliceWalker, StepOutput
from sautomed.training import Budget, Learner
from sautomed.training import learner as learner_module
from sautomed.training.optimization import warming_average
from sautomed.training.prepare import PreparedCase
from sautomed.training.runs import Run
from sautomed.training.steps import share_run, walk_losses, walk_run
from sautomed.training.validation import network_dice

TABLE_4 = {  # which parts are on: the paper's ablation
    "2D SAM": {"local_3d": False, "global_3d": False, "prompt": False},
    "local": {"local_3d": True, "global_3d": False, "prompt": False},
    "global": {"local_3d": False, "global_3d": True, "prompt": False},
    "local and global": {"local_3d": True, "global_3d": True, "prompt": False},
    "all": {"local_3d": True, "global_3d": True, "prompt": True},
}


def make_run(batch=2, slices=3, upward=(True, False), seed=0):
    """Noise with a bright block (class 1) that moves a little from slice to slice, and class 2 on the last one."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.rand(batch, slices + 2, 3, 128, 128, generator=generator)
    labels = torch.zeros(batch, slices, 128, 128, dtype=torch.long)
    for b, t in itertools.product(range(batch), range(slices)):
        rows, columns = slice(30 + 8 * b + 2 * t, 70 + 8 * b + 2 * t), slice(40, 80)
        images[b, t + 1, :, rows, columns] += 0.6
        labels[b, t, rows, columns] = 1
    images[:, -2, :, 90:110, 20:60] += 0.3
    labels[:, -1, 90:110, 20:60] = 2
    return Run(images, labels, torch.tensor(upward[:batch]))


def make_learner(model, small_settings, budget=None, **changes):
    settings = small_settings.train.model_copy(update=changes)
    return Learner(model, settings, budget or Budget(settings.steps), "repeat", SegmentSettings(), 0, 1)


def train_step(learner, run):
    """`training_step` outside a trainer."""
    learner.log_dict = lambda parts, **_: learner.__dict__.update(logged=parts)
    return learner.training_step(run, 0)


@pytest.fixture
def fresh_model(small_settings):
    torch.manual_seed(0)
    return build(small_settings.model, 2, 128).train()


# --- runs ---


class BoxKeeper(SliceWalker):
    """Hands out boxes that hang on a parameter, and keeps the states that it is given."""

    classes = 1

    def __init__(self):
        super().__init__()
        self.box = torch.nn.Parameter(torch.tensor([0.2, 0.2, 0.6, 0.8]))
        self.given = []

    def encode(self, images):
        return Features(images[:, :1])

    def share(self, before, here, after):
        return SharedFeatures(here.coarse, here.coarse)

    def start(self, batch):
        return SliceState(torch.zeros(batch, 1, 1), torch.zeros(batch, 1, 4), torch.zeros(batch, 1).bool())

    def step(self, shared, state):
        self.given.append(state)
        boxes = self.box.expand(len(shared.z), 1, 4)
        history = state.history + self.box.sum()
        return StepOutput(shared.z.expand(-1, 2, -1, -1), SliceState(history, boxes.detach(), boxes[..., 0] > 0))


class Trio(BoxKeeper):
    """What a slice is shared with, in its channels: the one before, itself, the one after."""

    def encode(self, images):
        coarse = images.mean((1, 2, 3)).view(-1, 1, 1, 1)
        return Features(coarse, (coarse * 2,))

    def share(self, before, here, after):
        return SharedFeatures(torch.cat([before.coarse, here.coarse, after.coarse], 1), here.coarse, here.fine)


@pytest.mark.parametrize("upward", [(True, True), (False, False), (True, False)])
@pytest.mark.parametrize("slices", [1, 3])
def test_each_slice_of_a_run_is_shared_with_its_anatomical_neighbours(upward, slices):
    """A run downwards holds its slices in the reverse order; "before" is still the one below."""
    run, model = make_run(slices=slices, upward=upward), Trio()
    shared = share_run(model, run, "all")
    assert len(shared) == slices
    values = run.images.mean((2, 3, 4))
    for (b, up), t in itertools.product(enumerate(upward), range(slices)):
        trio = values[b, t : t + 3] if up else values[b, t : t + 3].flip(0)
        torch.testing.assert_close(shared[t].z[b].flatten(), trio)
        torch.testing.assert_close(shared[t].f[b].flatten(), trio[1:2])
        torch.testing.assert_close(shared[t].fine[0][b].flatten(), 2 * trio[1:2])


def test_a_run_is_shared_as_slice_by_slice(small_model):
    run = make_run(upward=(True, False))
    with torch.no_grad():
        shared = share_run(small_model, run, "target")
        for b, up in enumerate((True, False)):
            f = small_model.encode(run.images[b] if up else run.images[b].flip(0)).split(1)  # in anatomical order
            for t in range(3):
                place = t + 1 if up else 3 - t
                alone = small_model.share(f[place - 1], f[place], f[place + 1])
                torch.testing.assert_close(shared[t].z[b], alone.z[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("trunk_gradient", "first"), [("target", 2), ("all", 0)])
def test_the_trunk_has_gradient_from_the_targets_three_slices_or_from_all(fresh_model, trunk_gradient, first):
    for parameter in fresh_model.slice_attention.parameters():  # untrained, it looks at no neighbour
        torch.nn.init.normal_(parameter, std=0.1)
    run = make_run(batch=1, slices=3)
    images = run.images.clone().requires_grad_()
    shared = share_run(fresh_model.eval(), run._replace(images=images), trunk_gradient)
    sum(part.z.square().sum() for part in shared).backward()
    felt = images.grad.abs().sum((0, 2, 3, 4)) > 0
    assert felt.tolist() == [t >= first for t in range(5)]


def test_boxes_pass_on_detached_with_noise_and_history_with_its_gradient():
    model = BoxKeeper()
    outputs = walk_run(
        model, make_run(batch=2, slices=3), TrainSettings(box_jitter=0.05), torch.Generator().manual_seed(0)
    )
    assert len(outputs) == len(model.given) == 3
    for state in model.given[1:]:
        assert not state.boxes.requires_grad
        assert state.history.requires_grad
        off = (state.boxes - model.box.detach()).abs()
        assert 0 < off.max() < 0.2
    plain = BoxKeeper()
    walk_run(plain, make_run(batch=2, slices=3), TrainSettings(box_jitter=0.0), torch.Generator())
    assert torch.equal(plain.given[1].boxes, plain.box.detach().expand(2, 1, 4))


def test_boxes_of_the_real_network_are_detached(fresh_model):
    for out in walk_run(fresh_model, make_run(), TrainSettings(), torch.Generator().manual_seed(0)):
        assert not out.state.boxes.requires_grad
        assert out.logits.requires_grad


# --- losses ---


def outputs_and_labels(slices=3):
    generator = torch.Generator().manual_seed(4)
    labels = make_run(slices=slices).labels
    outputs = []
    for _ in range(slices):
        corner = 0.5 * torch.rand(2, 2, 2, 2, generator=generator)
        boxes = torch.cat([corner, corner + 0.3], -1)
        logits = torch.randn(2, 3, 64, 64, generator=generator)
        outputs.append(StepOutput(logits, None, boxes, torch.randn(2, 2, generator=generator)))
    return outputs, labels


def test_the_target_counts_one_and_earlier_slices_their_weight(fresh_model, small_settings):
    outputs, labels = outputs_and_labels()
    whole = walk_losses(outputs, labels, small_settings.train.model_copy(update={"earlier_weight": 0.25}))
    single = [walk_losses([out], labels[:, t : t + 1], small_settings.train) for t, out in enumerate(outputs)]
    for name in ("loss", "ce", "dice", "box", "presence"):
        values = [losses[name] for losses in single]
        expected = (0.25 * values[0] + 0.25 * values[1] + values[2]) / 1.5
        torch.testing.assert_close(whole[name], expected, rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_weighed_sum_of_its_parts_at_the_labels_resolution(fresh_model, small_settings):
    outputs, labels = outputs_and_labels(slices=1)
    weights = {"ce_weight": 0.3, "dice_weight": 0.5, "box_weight": 0.7, "presence_weight": 0.9}
    losses = walk_losses(outputs, labels, small_settings.train.model_copy(update=weights))
    truth = labels[:, 0]
    logits = torch.nn.functional.interpolate(outputs[0].logits, size=128, mode="bilinear", align_corners=False)
    expected = {"ce": cross_entropy(logits, truth), "dice": dice_loss(logits, truth)}
    boxes, present = boxes_of_labels(truth, 2)
    expected["box"] = box_loss(outputs[0].boxes, boxes, present)
    expected["presence"] = presence_loss(outputs[0].presence, present)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    total = sum(weights[f"{name}_weight"] * value for name, value in expected.items())
    torch.testing.assert_close(losses["loss"], total)


def test_without_a_generator_there_is_no_box_or_presence_loss(fresh_model, small_settings):
    out = StepOutput(torch.zeros(2, 3, 64, 64), None)
    losses = walk_losses([out], make_run(slices=1).labels, small_settings.train)
    assert losses["box"] == losses["presence"] == 0
    assert losses["loss"] > 0


def test_a_loss_that_is_no_number_ends_the_training_with_a_cure(fresh_model, small_settings):
    run = make_run()._replace(cases=("liver_3", "liver_1"))
    run.images[0, 0] = torch.nan
    with pytest.raises(TrainingDiverged, match=r"nan at step 0.*liver_1, liver_3.*learning_rate") as caught:
        train_step(make_learner(fresh_model, small_settings), run)
    assert caught.value.exit_code == 4


# --- steps ---


@pytest.mark.parametrize("name", TABLE_4)
def test_every_variant_of_table_4_trains_all_its_parts(small_settings, name):
    torch.manual_seed(0)
    model = build(small_settings.model.model_copy(update=TABLE_4[name]), 2, 128).train()
    learner = make_learner(model, small_settings)
    optimizer = learner.configure_optimizers()["optimizer"]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for step in range(3):  # parts behind a projection that starts at zero move from the second step on
        optimizer.zero_grad()
        train_step(learner, make_run(seed=step)).backward()
        optimizer.step()
    parts = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    moved = {n.split(".")[0] for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == parts
    on = {"slice_attention": "local_3d", "history": "global_3d", "generator": "prompt"}
    assert parts == {"trunk", "decoder", *(part for part, switch in on.items() if TABLE_4[name][switch])}


def test_a_repeated_batch_is_learned(fresh_model, small_settings):
    learner = make_learner(fresh_model, small_settings, Budget(1000), learning_rate=3e-3, ema=0.0)
    optimizer = learner.configure_optimizers()["optimizer"]
    run, losses = make_run(), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = train_step(learner, run)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_jitter_follows_from_seed_and_step(fresh_model, small_settings):
    learner = make_learner(fresh_model, small_settings, box_jitter=0.2)
    assert train_step(learner, make_run()) == train_step(learner, make_run())


def test_weight_decay_is_for_matrices_only(fresh_model, small_settings):
    learner = make_learner(fresh_model, small_settings, weight_decay=0.3)
    decayed, free = learner.configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in fresh_model.named_parameters()}
    assert all(p.ndim >= 2 and names[id(p)].endswith("weight") for p in decayed["params"])
    assert any("mask_tokens" in names[id(p)] for p in free["params"])  # tokens are no matrices of layers
    assert min(p.ndim for p in decayed["params"]) == 2
    trained = sum(p.requires_grad for p in fresh_model.parameters())
    assert len(decayed["params"]) + len(free["params"]) == trained


# --- schedule ---


def test_the_rate_warms_up_and_falls_to_zero(fresh_model, small_settings):
    learner = make_learner(fresh_model, small_settings, Budget(100), steps=100, warmup_steps=10, poly_power=1.0)
    factor = learner.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert factor(0) == pytest.approx(0.1)
    assert factor(4) == pytest.approx(0.5 * 0.96)
    assert factor(50) == pytest.approx(0.5)
    assert factor(100) == 0


def test_progress_by_steps():
    budget = Budget(200)
    assert [budget.progress(step) for step in (0, 50, 200, 300)] == [0, 0.25, 1, 1]


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = [1000.0]
    monkeypatch.setattr(learner_module.time, "monotonic", lambda: now[0])
    return now


def test_progress_by_the_clock(clock):
    budget = Budget(1000, seconds=100, spent_s=10)
    assert budget.progress(0) == pytest.approx(0.1)  # preparing counts, though the training has not begun
    budget.start()
    clock[0] += 40
    assert budget.elapsed_s() == 50
    assert budget.progress(0) == pytest.approx(0.5)
    assert budget.progress(800) == pytest.approx(0.5)  # steps have no say
    budget.reserve_s = 20
    assert budget.progress(0) == pytest.approx(50 / 80)
    budget.reserve_s = 500  # no time is left for training
    assert budget.progress(0) == 1


# --- average ---


@pytest.mark.parametrize(("count", "keep"), [(1, 2 / 11), (10, 11 / 20), (10_000, 0.9)])
def test_the_average_forgets_quickly_at_first(count, keep):
    mean, whole = torch.tensor([1.0, 3.0]), torch.tensor([4])
    warming_average(0.9)([mean, whole], [torch.tensor([2.0, 3.0]), torch.tensor([7])], count)
    torch.testing.assert_close(mean, torch.tensor([keep * 1 + (1 - keep) * 2, 3.0]))
    assert whole.item() == 7  # counters are copied


def test_what_is_handed_out_is_the_average_if_there_is_one(fresh_model, small_settings):
    assert make_learner(fresh_model, small_settings, ema=0.0).best_model is fresh_model
    learner = make_learner(fresh_model, small_settings, ema=0.9)
    assert learner.best_model is not fresh_model
    assert isinstance(learner.best_model, SliceWalker)
    assert not any(p.requires_grad for p in learner.best_model.parameters())


# --- validation ---


class Reader(SliceWalker):
    """Finds exactly what the image shows: its value is the class."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        return Features(images[:, 1:2])

    def share(self, before, here, after):
        return SharedFeatures(here.coarse, here.coarse)

    def start(self, batch):
        return SliceState(torch.zeros(batch, 0, 1), torch.zeros(batch, 2, 4), torch.zeros(batch, 2).bool())

    def step(self, shared, state):
        classes = torch.arange(3)[:, None, None] / 2
        return StepOutput(-(shared.z - classes).abs(), state)


def write_case(folder, image, labels):
    for name, array in (("image", image), ("labels", labels), ("presence", np.zeros((len(labels), 2), bool))):
        np.save(folder / f"a.{name}.npy", array)
    return PreparedCase("a", folder)


def two_organs():
    labels = np.zeros((5, 16, 16), np.uint8)
    labels[1:4, 2:6, 2:6] = 1
    labels[2:, 8:12, 8:12] = 2
    return labels


def dice_of(folder, found, truth):
    case = write_case(folder, (found / 2).astype(np.float16), truth)
    return network_dice(Reader(), case, "repeat", SegmentSettings(chunk=2)).tolist()


def test_a_perfect_prediction_has_a_dice_of_one(tmp_path):
    assert dice_of(tmp_path, two_organs(), two_organs()) == [1, 1]


def test_dice_is_over_the_whole_case(tmp_path):
    truth, found = two_organs(), two_organs()
    found[1] = 0  # one of three slices of organ 1 missed
    found[0, 0, 0] = 2  # and one pixel more of organ 2, which has 3 x 16
    assert dice_of(tmp_path, found, truth) == pytest.approx([2 * 32 / (32 + 48), 2 * 48 / (48 + 49)])


def test_an_organ_that_is_nowhere_is_not_counted(tmp_path):
    truth = np.where(two_organs() == 2, 0, two_organs())
    one, two = dice_of(tmp_path, truth, truth)
    assert one == 1
    assert np.isnan(two)
    assert dice_of(tmp_path, two_organs(), truth) == [1, 0]  # found where it is not


def test_a_loss_at_the_logits_sees_shrunk_labels(small_settings):
    labels = torch.zeros(1, 1, 8, 8, dtype=torch.long)
    labels[..., 4:] = 1
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 0, :, 0] = logits[:, 1, :, 1] = 20.0
    out, settings = StepOutput(logits, None), small_settings.train
    exact = walk_losses([out], labels, settings.model_copy(update={"loss_at": "logits"}))
    assert exact["loss"] < 1e-3  # each pixel of the logits is right
    assert walk_losses([out], labels, settings)["ce"] > 10 * exact["ce"]  # stretched, they are unsure in between


def test_processor_time_does_not_pass_while_others_work(monkeypatch):
    moments = {"monotonic": 0.0, "process_time": 0.0}
    for name in moments:
        monkeypatch.setattr(learner_module.time, name, lambda name=name: moments[name])
    wall, own = Budget(steps=1, seconds=10.0), Budget(steps=1, seconds=10.0, clock="processor")
    wall.start()
    own.start()
    moments |= {"monotonic": 8.0, "process_time": 2.0}
    assert wall.progress(0) == pytest.approx(0.8)
    assert own.progress(0) == pytest.approx(0.2)
