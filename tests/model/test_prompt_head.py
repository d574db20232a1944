"""The head of each class: silent at first, the same for all classes, and only as loud as its prompts."""

from dataclasses import replace

import pytest
import torch

from sautomed.model.given import GivenPrompts, gate
from sautomed.model.prompt_head import FADE, LOGIT_RANGE, MAPS, NoPromptHead, PromptHead, carry_on, prompt_maps
from sautomed.model.values import Seen, SliceState

CLASSES, SIZE = 3, (12, 12)
BOX = torch.tensor([0.25, 0.25, 0.75, 0.5])


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def awake_head():
    torch.manual_seed(0)
    head = PromptHead(5).eval()
    for layer in (head.change, head.direct):
        torch.nn.init.normal_(layer.weight)
    return head


def walked_state(rows=1, seed=0):
    start = SliceState.unknown(torch.zeros(rows, 2, 4), CLASSES)
    generator = torch.Generator().manual_seed(seed)
    return replace(
        start,
        seen=torch.randint(0, 3, (rows, CLASSES), generator=generator),
        masks=torch.rand(rows, CLASSES, *SIZE, generator=generator),
        carried=2 * torch.rand(rows, CLASSES, *SIZE, generator=generator) - 1,
    )


def given_some(rows=1):
    some = GivenPrompts.nothing(CLASSES, SIZE).here(0, BOX).not_here(2)
    return GivenPrompts.cat([some] * rows)


def inputs(rows=1, seed=0):
    return numbers(rows, CLASSES + 1, *SIZE, seed=seed), numbers(rows, 5, *SIZE, seed=seed + 1)


@torch.no_grad()
def test_it_changes_nothing_before_it_is_trained():
    logits, pixels = inputs()
    assert torch.equal(PromptHead(5)(logits, pixels, walked_state(), given_some()), logits)


@torch.no_grad()
@pytest.mark.parametrize("order", [[1, 0, 2], [2, 0, 1], [2, 1, 0]])
def test_classes_that_change_places_change_places_in_the_logits(order):
    """One set of weights for all classes: what a prompt means does not depend on the class."""
    head, (logits, pixels), state, given = awake_head(), inputs(), walked_state(), given_some()
    permuted = replace(
        state, **{name: getattr(state, name)[:, order] for name in ("seen", "masks", "carried", "boxes")}
    )
    other = GivenPrompts(*(x[:, order] for x in (given.kinds, given.boxes, given.masks)))
    channels = [0, *(1 + k for k in order)]
    expected = head(logits, pixels, state, given)[:, channels]
    torch.testing.assert_close(head(logits[:, channels], pixels, permuted, other), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(head(logits[:, channels], pixels, state, given), expected, atol=1e-3)


@torch.no_grad()
def test_a_prompt_changes_its_own_class_alone():
    head, (logits, pixels), state = awake_head(), inputs(), walked_state()
    changed = head(logits, pixels, state, GivenPrompts.nothing(CLASSES, SIZE).here(1, BOX))
    difference = (changed - head(logits, pixels, state, None)).abs().amax((0, 2, 3))
    assert difference[2] > 1e-3
    assert difference[[0, 1, 3]].max() == 0


@torch.no_grad()
def test_what_is_given_changes_logits_directly_too():
    """By a weight on the map of what is outside, an organ that is not here falls everywhere."""
    head, (logits, pixels), start = PromptHead(5), inputs(), SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    head.direct.weight[:, MAPS - 1] = -1
    change = head(logits, pixels, start, GivenPrompts.nothing(CLASSES, SIZE).not_here(1)) - logits
    torch.testing.assert_close(change[:, 2], torch.full((1, *SIZE), -LOGIT_RANGE))
    assert change[:, [0, 1, 3]].abs().max() == 0


@torch.no_grad()
def test_a_row_without_prompts_keeps_every_bit_beside_one_that_has_some():
    """A walk that is resumed ends where no bit has changed."""
    head, (logits, pixels), state = awake_head(), inputs(rows=2), walked_state(rows=2)
    beside = GivenPrompts.cat([given_some(), GivenPrompts.nothing(CLASSES, SIZE)])
    alone = head(logits, pixels, state, None)
    assert torch.equal(head(logits, pixels, state, beside)[1], alone[1])
    assert not torch.equal(head(logits, pixels, state, beside)[0], alone[0])


@torch.no_grad()
def test_classes_of_which_nothing_is_known_stay_what_the_image_says():
    head, (logits, pixels), start = awake_head(), inputs(), SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    assert torch.equal(head(logits, pixels, start, None), logits)
    changed = head(logits, pixels, start, given_some()) - logits
    assert changed.abs().amax((0, 2, 3)).gt(1e-3).tolist() == [False, True, False, True]


@torch.no_grad()
@pytest.mark.parametrize("name", ["seen", "masks", "carried"])
def test_every_part_of_the_state_is_read(name):
    head, (logits, pixels), state = awake_head(), inputs(), walked_state()
    other = replace(state, **{name: getattr(walked_state(seed=5), name)})
    assert not torch.allclose(head(logits, pixels, other, None), head(logits, pixels, state, None), atol=1e-3)


@torch.no_grad()
def test_a_batch_is_a_loop_of_one():
    head, (logits, pixels), state, given = awake_head(), inputs(rows=3), walked_state(rows=3), given_some(rows=3)
    whole = head(logits, pixels, state, given)
    for i in range(3):
        one = head(logits[i : i + 1], pixels[i : i + 1], state.take([i]), given_some())
        torch.testing.assert_close(whole[i : i + 1], one, rtol=0, atol=1e-5)


def test_maps_say_what_is_known():
    state = replace(walked_state(), seen=torch.tensor([[Seen.UNKNOWN, Seen.ABSENT, Seen.PRESENT]]))
    maps = torch.stack(prompt_maps(state, given_some(), SIZE), 2)[0]
    assert torch.equal(maps[:, 0], state.masks[0])
    assert maps[:, 3].mean((1, 2)).tolist() == [1, 0, 0]
    assert maps[:, 4].mean((1, 2)).tolist() == [0, 1, 0]
    torch.testing.assert_close(maps[:, 5] - maps[:, 6], state.carried[0])
    inside, outside = maps[:, 7], maps[:, 8]
    assert inside.sum((1, 2)).tolist() == [6 * 3, 0, 0]
    assert torch.equal(inside[0] + outside[0], torch.ones(SIZE))
    assert outside.mean((1, 2))[1:].tolist() == [0, 1]


def test_maps_of_another_size_are_brought_to_that_of_the_logits():
    state = walked_state()
    assert {x.shape for x in prompt_maps(state, None, (6, 6))} == {(1, CLASSES, 6, 6)}
    torch.testing.assert_close(prompt_maps(state, None, (6, 6))[0].mean(), state.masks.mean())
    start = SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    assert all(x.abs().max() == 0 for x in prompt_maps(start, None, SIZE)[:3])


def test_what_was_given_is_carried_on_and_fades_and_nothing_else_is():
    start = SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    without, now = torch.full((1, CLASSES, *SIZE), 0.9), torch.full((1, CLASSES, *SIZE), 0.2)
    assert carry_on(start, None, now, without).abs().max() == 0
    carried = carry_on(start, given_some(), now, without)
    torch.testing.assert_close(carried[:, [0, 2]], (now - without)[:, [0, 2]])
    assert carried[:, 1].abs().max() == 0
    later = carry_on(replace(start, carried=carried), None, without, without)  # nothing was changed here
    torch.testing.assert_close(later, FADE * carried)
    stronger = carry_on(replace(start, carried=carried), None, now - 0.2, without)
    torch.testing.assert_close(stronger[:, 0], (now - 0.2 - without)[:, 0])


def test_it_remembers_the_masks_that_obey_and_what_obeying_changed():
    head, (logits, pixels), start = PromptHead(5), inputs(), SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    given = given_some()
    obeying = gate(head(logits, pixels, start, given), given)
    masks, carried = head.remember(start, given, obeying, logits)
    torch.testing.assert_close(masks, obeying.softmax(1)[:, 1:])
    torch.testing.assert_close(carried[:, 2], (obeying.softmax(1) - logits.softmax(1))[:, 3])
    assert carried[:, 2].max() < 0
    assert carried[:, 1].abs().max() == 0
    assert not masks.requires_grad


def test_without_a_head_logits_stay_and_no_maps_are_kept():
    logits, pixels = inputs()
    state = SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    assert NoPromptHead()(logits, pixels, state, given_some()) is logits
    masks, carried = NoPromptHead().remember(state, given_some(), logits, logits)
    assert masks.shape == carried.shape == (1, CLASSES, 1, 1)


def test_what_it_learns_does_not_reach_the_network_behind_it():
    """Prompts that contradict the image would teach that to doubt what the image shows."""
    head = awake_head()
    logits, pixels = (x.requires_grad_() for x in inputs())
    head(logits, pixels, walked_state(), given_some()).square().sum().backward()
    assert logits.grad is None
    assert pixels.grad is None
    assert all(parameter.grad is not None for parameter in head.parameters())
    unknown = SliceState.unknown(torch.zeros(1, 2, 4), CLASSES)
    assert head(logits, pixels, unknown, None) is logits
