"""3D-SAutoMed by OpenVINO: the walk drives it as it drives the network, and the numbers are the same."""

from dataclasses import replace

import pytest
import torch

from sautomed.model.given import GivenPrompts
from sautomed.model.values import Features, Seen
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS

from ...model.walkers import View, noise

DEPTH = 6


def walk(model, name="mid_to_ends", memory_bytes=None):
    return Walk(model, View(noise(DEPTH), DEPTH), WALKS[name](DEPTH), chunk=4, memory_bytes=memory_bytes)


def error(found, exact):
    """Largest difference, relative to the largest number."""
    return float((found - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("name", list(WALKS))
def test_a_walk_gives_the_same_masks(by_openvino, network, name):
    found, exact = ({part.index: part for part in walk(model, name)} for model in (by_openvino, network))
    assert found.keys() == exact.keys()
    for t, part in found.items():
        assert error(part.logits, exact[t].logits) < 1e-4
        assert error(part.presence, exact[t].presence) < 1e-4
        assert torch.equal(part.logits.argmax(0), exact[t].logits.argmax(0))
        torch.testing.assert_close(part.predicted_boxes, exact[t].predicted_boxes, atol=1e-5, rtol=1e-4)


def test_each_verb_gives_what_the_network_gives(by_openvino, network):
    with torch.inference_mode():
        images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        found, exact = by_openvino.encode(images), network.encode(images)
        assert len(found.fine) == len(exact.fine)
        for one, other in zip((found.coarse, *found.fine), (exact.coarse, *exact.fine), strict=True):
            assert error(one, other) < 1e-5
        rows = [Features(exact.coarse[[i]], tuple(m[[i]] for m in exact.fine)) for i in range(3)]
        shared, exact_shared = by_openvino.share(*rows), network.share(*rows)
        assert error(shared.z, exact_shared.z) < 1e-5
        assert torch.equal(shared.f, exact_shared.f)
        state = network.step(exact_shared, network.start(1)).state
        out, exact_out = (m.step(exact_shared, state) for m in (by_openvino, network))
        assert error(out.boxes, exact_out.boxes) < 1e-5
        assert error(out.pixels, exact_out.pixels) < 1e-4
        assert torch.equal(out.state.seen, exact_out.state.seen)
        assert out.state.seen.dtype == torch.long
        assert error(out.state.masks, exact_out.state.masks) < 1e-4
        assert error(out.state.history, exact_out.state.history) < 1e-4


def test_a_row_with_an_unknown_class_beside_known_ones_is_the_networks(by_openvino, network):
    """The network skips its prompt head only where nothing is known of any class; a graph cannot."""
    with torch.inference_mode():
        features = network.encode(torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)))
        shared = network.share(features, features, features)
        state = network.step(shared, network.start(1)).state
        for seen in ([int(Seen.UNKNOWN)] * 2, [int(Seen.UNKNOWN), int(Seen.PRESENT)]):
            mixed = replace(state, seen=torch.tensor([seen]))
            found, exact = (m.step(shared, mixed).logits for m in (by_openvino, network))
            assert error(found, exact) < 1e-4


def test_a_walk_goes_on_from_a_slice_as_from_the_beginning(by_openvino):
    there = walk(by_openvino, memory_bytes=2**30)
    first = {part.index: part.logits for part in there}
    state = there.state(4)
    again = {part.index: part.logits for part in there.resume(4, replace(state, history=state.history + 1))}
    assert not torch.equal(again[4], first[4])
    back = {part.index: part.logits for part in there.resume(4, state)}
    assert all(torch.equal(logits, first[t]) for t, logits in back.items())
    assert torch.equal(there.look_again(2).predicted.logits, first[2])


def test_a_step_for_which_nothing_is_given_is_pytorchs_and_it_says_so(by_openvino, network):
    with torch.inference_mode():
        features = network.encode(torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)))
        shared, nothing = network.share(features, features, features), GivenPrompts.nothing(2, (128, 128))
        plain, given = (network.step(shared, network.start(1), prompts).logits for prompts in (None, nothing))
        assert network.computes_given_alike
        assert torch.equal(plain, given)
        assert not by_openvino.computes_given_alike
        assert torch.equal(by_openvino.step(shared, network.start(1), nothing).logits, given)


def test_what_is_given_is_obeyed(by_openvino, network):
    given = GivenPrompts.nothing(2, (128, 128)).not_here(0)
    found = []
    for model in (by_openvino, network):
        there = walk(model)
        there.give(DEPTH // 2, given)
        found.append({part.index: part.logits for part in there})
    assert not (found[0][DEPTH // 2].argmax(0) == 1).any()
    assert all(torch.equal(found[0][t].argmax(0), found[1][t].argmax(0)) for t in range(DEPTH))
