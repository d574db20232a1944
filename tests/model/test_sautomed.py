"""Fig. 1 in code: the parts together, switched on and off, walked far."""

import itertools
from dataclasses import replace

import pytest
import torch

from sautomed.config import TrainSettings, load_settings
from sautomed.model.build import build, decoder_widths
from sautomed.model.given import GivenPrompts
from sautomed.model.prompt_rows import PromptedRuns
from sautomed.model.values import Seen

from .examples import make_run

PARTS = ("local_3d", "global_3d", "prompt")
MODULES = {"local_3d": "slice_attention", "global_3d": "history", "prompt": "generator"}


def features(model, n=1, seed=0):
    torch.manual_seed(seed)
    return model.encode(torch.rand(n, 3, 128, 128))


@pytest.mark.parametrize("on", list(itertools.product([False, True], repeat=3)), ids=str)
def test_a_part_that_is_off_is_not_built_and_the_rest_works(small_settings, on):
    """The five variants of Table 4 are among these."""
    switches = dict(zip(PARTS, on, strict=True))
    model = build(small_settings.model.model_copy(update=switches), 2, 128).eval()
    for part, module in MODULES.items():
        built = any(name.startswith(f"{module}.") for name, _ in model.named_parameters())
        assert built == switches[part]
    f = features(model)
    out = model.step(model.share(f, f, f), model.start(1))
    out = model.step(model.share(f, f, f), out.state)
    assert out.logits.shape == (1, 3, 64, 64)
    assert (out.presence is not None) == switches["prompt"]
    assert out.state.history.shape[1] == (3 if switches["global_3d"] else 0)


def test_nothing_is_known_at_the_start_and_all_after_the_first_slice(small_model):
    state, f = small_model.start(2), features(small_model, n=2)
    assert (state.seen == Seen.UNKNOWN).all()
    assert not state.present.any()
    assert state.boxes.shape == (2, 2, 4)
    after = small_model.step(small_model.share(f, f, f), state).state
    assert not (after.seen == Seen.UNKNOWN).any()


def test_the_state_carries_the_boxes_of_the_labels_that_were_found(small_model):
    from sautomed.model.boxes import boxes_of_labels

    f = features(small_model)
    out = small_model.step(small_model.share(f, f, f), small_model.start(1))
    boxes, present = boxes_of_labels(out.logits.argmax(1), 2, min_pixels=2, smallest_part=0.05)
    assert torch.equal(out.state.present, present)
    assert torch.equal(out.state.boxes, boxes)
    assert not out.state.boxes.requires_grad


def test_every_part_of_the_state_changes_the_next_slice(small_model):
    f = features(small_model)
    shared = small_model.share(f, f, f)
    state = small_model.step(shared, small_model.start(1)).state
    present = torch.full_like(state.seen, Seen.PRESENT)
    state = replace(state, seen=present, boxes=torch.tensor([[[0.1, 0.1, 0.4, 0.5]] * 2]))
    base = small_model.step(shared, state).logits
    for change in (
        {"history": state.history + 0.5},
        {"boxes": state.boxes + 0.4},
        {"seen": torch.full_like(state.seen, Seen.ABSENT)},
        {"seen": torch.full_like(state.seen, Seen.UNKNOWN)},
    ):
        assert not torch.allclose(base, small_model.step(shared, replace(state, **change)).logits, atol=1e-5)


def test_two_walkers_are_two_walks_of_one(small_model):
    here, there = features(small_model, seed=1), features(small_model, seed=2)
    both = type(here).cat([here, there])
    state = small_model.start(2)
    for _ in range(3):
        out = small_model.step(small_model.share(both, both, both), state)
        state = out.state
    for row, f in enumerate((here, there)):
        alone = small_model.start(1)
        for _ in range(3):
            one = small_model.step(small_model.share(f, f, f), alone)
            alone = one.state
        assert torch.allclose(out.logits[row], one.logits[0], atol=1e-4)


def test_eq3_history_stays_bounded_over_300_steps(small_model):
    """Trained on runs of four slices, walked over hundreds: the filter's norm must hold the recurrence."""
    torch.manual_seed(3)
    with torch.inference_mode():
        f = small_model.encode(torch.rand(8, 3, 128, 128)).split(1)
        state, lengths = small_model.start(1), []
        for t in range(300):
            here = f[t % 8]
            out = small_model.step(small_model.share(here, here, here), state)
            state = out.state
            lengths.append(state.history.norm(dim=-1).max().item())
            assert out.logits.isfinite().all()
    assert max(lengths) <= 2 * small_model.decoder.no_mask.numel() ** 0.5
    assert max(lengths[200:]) <= 1.5 * max(lengths[:50])


def test_a_given_prompt_is_obeyed_on_its_slice_and_in_the_state_behind_it(small_model):
    f = features(small_model)
    shared, state = small_model.share(f, f, f), small_model.start(1)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:30, 20:50] = True
    given = GivenPrompts.nothing(2, (64, 64)).mask(0, mask).not_here(1)
    plain, out = small_model.step(shared, state), small_model.step(shared, state, given)
    assert torch.equal(out.logits.argmax(1)[0] == 1, mask)
    assert not (out.logits.argmax(1) == 2).any()
    assert out.state.seen.tolist() == [[Seen.PRESENT, Seen.ABSENT]]
    assert torch.allclose(out.state.boxes[0, 0] * 64, torch.tensor([20.0, 10, 50, 30]))
    assert plain.ungated is None
    assert not torch.equal(out.ungated, out.logits)
    assert (out.ungated - plain.logits).abs().max() > 1e-5  # the given box prompts the decoder too
    torch.testing.assert_close(out.boxes, plain.boxes)  # and is not refined


def cosines(tokens):
    """Return the cosine of every pair of tokens."""
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    return (unit @ unit.mT)[..., ~torch.eye(tokens.shape[-2], dtype=torch.bool)]


def test_classes_and_history_tokens_stay_apart_over_50_steps():
    """Tokens that are one vector behind the transformer hear one prompt and remember one thing."""
    torch.manual_seed(0)
    model = build(load_settings("tiny").model, 4, 128).eval()
    tokens, classes = [], slice(1, 6)  # behind the IoU token; then 8 history tokens
    model.decoder.transformer.register_forward_hook(lambda _, __, out: tokens.append(out[0]))
    with torch.inference_mode():
        f = model.encode(torch.rand(4, 3, 128, 128)).split(1)
        state = model.start(1)
        for t in range(50):
            state = model.step(model.share(f[t % 4], f[t % 4], f[t % 4]), state).state
            assert cosines(state.history).max() < 0.8
    for behind in (tokens[0], tokens[-1]):
        assert cosines(behind[:, classes]).max() < 0.99
        assert cosines(behind[:, 6:14]).max() < 0.999


def test_the_loss_of_the_mask_reaches_the_predicted_box(small_settings):
    model = build(small_settings.model, 2, 128).train()
    f = features(model, n=2)
    out = model.step(model.share(f, f, f), model.start(2))
    out.boxes.retain_grad()
    torch.nn.functional.cross_entropy(out.logits, torch.ones(2, 64, 64, dtype=torch.long)).backward()
    assert (out.boxes.grad[-1] != 0).all()
    assert model.generator.move[-1].weight.grad.any()


def test_gradient_through_a_run_reaches_all_that_only_earlier_slices_use(small_settings):
    """Filter, first history tokens, default query: with no gradient through history they would never be trained."""
    model = build(small_settings.model, 2, 128).train()
    f = features(model, n=2)
    state = model.start(2)
    for _ in range(3):
        out = model.step(model.share(f, f, f), state)
        state = out.state
    (out.logits.square().mean() + out.boxes.sum() + out.presence.sum()).backward()
    for name in ("history.own", "history.mlp.0.weight", "generator.semantic", "generator.default_query"):
        assert dict(model.named_parameters())[name].grad.abs().sum() > 0, name


def test_tiny_has_at_most_8_million_parameters():
    model = build(load_settings("tiny").model, 13, 256)
    assert sum(p.numel() for p in model.parameters()) <= 8_000_000


@pytest.mark.parametrize(
    ("head", "stride", "widths"), [("coarse", 16, (64, 32)), ("full", 16, (64, 32, 16, 8)), ("full", 8, (64, 32, 16))]
)
def test_the_head_reaches_stride_4_of_sam_or_full_resolution(head, stride, widths):
    settings = load_settings("sam-vit-b", [f"model.decoder.head={head}"]).model.decoder
    assert decoder_widths(settings, 256, stride) == widths


def test_rows_that_teach_obedience_come_with_runs_and_with_half_of_the_single_slices(small_model):
    run = make_run(batch=8, slices=1, upward=(True,) * 8)
    alone = run._replace(images=run.images[:, 1:-1])

    def taught(examples, seed, share=1.0):
        runs = small_model.runs(examples, TrainSettings(prompt_rows=share), torch.Generator().manual_seed(seed))
        return bool((runs.state.seen != Seen.UNKNOWN).any())

    assert all(taught(run, seed) for seed in range(20))
    assert 0 < sum(taught(alone, seed) for seed in range(20)) < 20
    assert not any(taught(run, seed, share=0.0) for seed in range(20))


@torch.no_grad()
def test_masks_obey_without_the_gate_only_what_the_network_has_learned(small_model):
    """The gate can be switched off, to see what a network itself makes of its prompts."""
    f = features(small_model)
    shared, given = small_model.share(f, f, f), GivenPrompts.nothing(2, (64, 64)).not_here(0)
    enforced = small_model.step(shared, small_model.start(1), given)
    small_model.enforces_given = False
    try:
        free = small_model.step(shared, small_model.start(1), given)
    finally:
        small_model.enforces_given = True
    assert not (enforced.logits.argmax(1) == 1).any()
    assert torch.equal(free.logits, enforced.ungated)
    assert torch.equal(free.logits, free.ungated)


@torch.no_grad()
def test_presence_is_learned_from_the_image_whatever_is_taken_out_of_the_targets(small_model, monkeypatch):
    run = make_run(batch=2, slices=1)
    start = PromptedRuns(small_model.start(2), None, run.labels)
    losses = []
    for labels in (run.labels, torch.zeros_like(run.labels)):
        monkeypatch.setattr(small_model, "runs", lambda *_, labels=labels: replace(start, labels=labels))
        losses.append(small_model.losses(run, TrainSettings(), torch.Generator()))
    assert losses[0]["presence"] == losses[1]["presence"]
    assert losses[0]["ce"] != losses[1]["ce"]


@torch.no_grad()
def test_logits_of_the_image_alone_come_beside_those_that_the_head_changed(small_settings):
    model = build(small_settings.model.model_copy(update={"prompt_head": True}), 2, 128).eval()
    torch.nn.init.normal_(model.prompt_head.change.weight)
    f = features(model)
    shared = model.share(f, f, f)
    cold = model.step(shared, model.start(1))
    assert cold.image_alone is None
    walked = model.step(shared, cold.state)
    assert not torch.equal(walked.image_alone, walked.logits)
    assert torch.equal(walked.image_alone[:, 0], walked.logits[:, 0])
    headless = build(small_settings.model.model_copy(update={"prompt_head": False}), 2, 128).eval()
    assert headless.step(headless.share(f, f, f), headless.start(1)).image_alone is None
