"""Training examples walked with gradient: slices in anatomical order, boxes detached, history with its gradient."""

import itertools
from dataclasses import replace

import pytest
import torch

from sautomed.config import TrainSettings
from sautomed.model.given import GivenPrompts
from sautomed.model.slice_walker import PlainSegmenter, SliceWalker
from sautomed.model.values import Features, Seen, SharedFeatures, SliceState, StepOutput

from .examples import make_run


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
        return SliceState.unknown(torch.zeros(batch, 1, 1), 1)

    def step(self, shared, state):
        self.given.append(state)
        boxes = self.box.expand(len(shared.z), 1, 4)
        history = state.history + self.box.sum()
        after = replace(state, history=history, boxes=boxes.detach(), seen=Seen.of(boxes[..., 0] > 0))
        return StepOutput(shared.z.expand(-1, 2, -1, -1), after)


class Trio(BoxKeeper):
    """What a slice is shared with, in its channels: the one before, itself, the one after."""

    def encode(self, images):
        coarse = images.mean((1, 2, 3)).view(-1, 1, 1, 1)
        return Features(coarse, (coarse * 2,))

    def share(self, before, here, after):
        trio = torch.cat([before.coarse, here.coarse, after.coarse], 1)
        return SharedFeatures(trio, here.coarse.expand(-1, 3, -1, -1), here.fine)


@pytest.mark.parametrize("upward", [(True, True), (False, False), (True, False)])
@pytest.mark.parametrize("slices", [1, 3])
def test_each_slice_of_a_run_is_shared_with_its_anatomical_neighbours(upward, slices):
    """A run downwards holds its slices in the reverse order; "before" is still the one below."""
    run, model = make_run(slices=slices, upward=upward), Trio()
    shared = model.share_examples(run, TrainSettings(trunk_gradient="all"))
    assert len(shared) == slices
    values = run.images.mean((2, 3, 4))
    for (b, up), t in itertools.product(enumerate(upward), range(slices)):
        trio = values[b, t : t + 3] if up else values[b, t : t + 3].flip(0)
        torch.testing.assert_close(shared[t].z[b].flatten(), trio)
        torch.testing.assert_close(shared[t].f[b].flatten(), trio[1].expand(3))
        torch.testing.assert_close(shared[t].fine[0][b].flatten(), 2 * trio[1:2])


def test_a_run_is_shared_as_slice_by_slice(small_model):
    run = make_run(upward=(True, False))
    with torch.no_grad():
        shared = small_model.share_examples(run, TrainSettings())
        for b, up in enumerate((True, False)):
            f = small_model.encode(run.images[b] if up else run.images[b].flip(0)).split(1)  # in anatomical order
            for t in range(3):
                place = t + 1 if up else 3 - t
                alone = small_model.share(f[place - 1], f[place], f[place + 1])
                torch.testing.assert_close(shared[t].z[b], alone.z[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("slices", "with_gradient"), [("target", {2, 3, 4}), ("run", {1, 2, 3}), ("all", {*range(5)})])
def test_the_trunk_has_gradient_from_the_slices_that_the_settings_name(fresh_model, slices, with_gradient):
    run = make_run(batch=1, slices=3)
    images = run.images.clone().requires_grad_()
    shared = fresh_model.eval().share_examples(run._replace(images=images), TrainSettings(trunk_gradient=slices))
    sum(part.z.square().sum() for part in shared).backward()
    felt = images.grad.abs().sum((0, 2, 3, 4)) > 0
    assert {t for t in range(5) if felt[t]} == with_gradient


def test_single_slices_are_their_own_neighbours_where_training_begins_with_them():
    run, model = make_run(slices=1), Trio()
    alone = run._replace(images=run.images[:, 1:-1])
    [shared] = model.share_examples(alone, TrainSettings())
    torch.testing.assert_close(shared.z.flatten(1), alone.images.mean((1, 2, 3, 4))[:, None].expand(-1, 3))


def walked(model, **settings):
    run, recipe, generator = make_run(batch=2, slices=3), TrainSettings(**settings), torch.Generator().manual_seed(0)
    return model.walk_examples(run, recipe, generator, model.runs(run, recipe, generator))


def test_boxes_pass_on_detached_with_noise_and_history_with_its_gradient():
    model = BoxKeeper()
    outputs = walked(model, box_jitter=0.05)
    assert len(outputs) == len(model.given) == 3
    for state in model.given[1:]:
        assert not state.boxes.requires_grad
        assert state.history.requires_grad
        off = (state.boxes - model.box.detach()).abs()
        assert 0 < off.max() < 0.2
    plain = BoxKeeper()
    walked(plain, box_jitter=0.0)
    assert torch.equal(plain.given[1].boxes, plain.box.detach().expand(2, 1, 4))


def test_a_2d_model_obeys_what_is_given_too():
    class Plain(PlainSegmenter):
        classes = 1

        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(()))

        def encode(self, images):
            return Features(images)

        def logits(self, features):
            return features.coarse[:, :2]

    model, image = Plain(), torch.rand(1, 3, 8, 8)
    f = model.encode(image)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:7] = True
    given = GivenPrompts.nothing(1, (8, 8)).mask(0, mask)
    out = model.step(model.share(f, f, f), model.start(1), given)
    assert torch.equal(out.logits.argmax(1)[0] == 1, mask)
    assert torch.equal(out.ungated, model.step(model.share(f, f, f), model.start(1)).logits)


def test_boxes_of_the_real_network_are_detached(fresh_model):
    for out in walked(fresh_model):
        assert not out.state.boxes.requires_grad
        assert out.logits.requires_grad
