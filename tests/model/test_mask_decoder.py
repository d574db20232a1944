"""SAM's decoder with a head per organ and history tokens: the decoder of Eq. 3."""

import pytest
import torch

from sautomed.model.mask_decoder import MaskDecoder


def decoder(**changes):
    torch.manual_seed(0)
    return MaskDecoder(**{"classes": 3, "dim": 32, "heads": 2, "mlp": 48, "widths": (16, 8), **changes}).eval()


def inputs(batch=2, history=4, prompts=3):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return draw(batch, 32, 4, 4), [], draw(32, 4, 4), draw(batch, history, 32), draw(batch, prompts, 32)


def test_eq3_gives_a_mask_per_class_and_one_for_the_background_and_the_history_back():
    logits, history, _ = decoder()(*inputs())
    assert logits.shape == (2, 4, 16, 16)
    assert history.shape == (2, 4, 32)


def test_eq3_history_changes_masks_and_the_slice_changes_history():
    net, (z, fine, place, history, prompts) = decoder(), inputs()
    logits, after, _ = net(z, fine, place, history, prompts)
    other_logits, *_ = net(z, fine, place, history + 1, prompts)
    _, other_after, _ = net(z.flip(-1), fine, place, history, prompts)
    assert not torch.allclose(logits, other_logits, atol=1e-4)
    assert not torch.allclose(after, other_after, atol=1e-4)


def test_eq3_the_order_of_history_tokens_is_kept_and_does_not_matter():
    """The paper's cat order is irrelevant to attention: permuted tokens come back permuted, masks stay."""
    net, (z, fine, place, history, prompts) = decoder(), inputs()
    order = [2, 0, 3, 1]
    logits, after, _ = net(z, fine, place, history, prompts)
    other_logits, other_after, _ = net(z, fine, place, history[:, order], prompts)
    assert torch.allclose(logits, other_logits, atol=1e-4)
    assert torch.allclose(after[:, order], other_after, atol=1e-5)


def test_eq3_gradient_reaches_slice_history_and_prompts():
    net, (z, fine, place, history, prompts) = decoder(), inputs()
    leaves = [x.requires_grad_() for x in (z, history, prompts)]
    net(z, fine, place, history, prompts)[0].square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in leaves)


def test_a_part_that_is_off_gives_no_tokens():
    logits, history, _ = decoder()(*inputs(history=0, prompts=0))
    assert logits.shape == (2, 4, 16, 16)
    assert history.shape == (2, 0, 32)


@pytest.mark.parametrize("history", [0, 4])
def test_a_batch_is_a_loop_of_one(history):
    net, (z, fine, place, tokens, prompts) = decoder(), inputs(batch=3, history=history)
    whole = net(z, fine, place, tokens, prompts)[0]
    for i in range(3):
        one = net(z[i : i + 1], fine, place, tokens[i : i + 1], prompts[i : i + 1])[0]
        assert torch.allclose(whole[i : i + 1], one, atol=1e-4)


def test_finer_maps_reach_the_logits():
    net, (z, _, place, history, prompts) = decoder(fine_channels=(6, 5)), inputs()
    fine = [torch.randn(2, 6, 8, 8), torch.randn(2, 5, 16, 16)]
    base = net(z, fine, place, history, prompts)[0]
    for i in range(2):
        moved = [m + (j == i) for j, m in enumerate(fine)]
        assert not torch.allclose(base, net(z, moved, place, history, prompts)[0], atol=1e-4)


def test_three_doublings_reach_three_times_as_far():
    assert decoder(widths=(16, 8, 4))(*inputs())[0].shape == (2, 4, 32, 32)


def cosines(tokens):
    """Return the cosine of every pair of tokens."""
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    return (unit @ unit.mT)[..., ~torch.eye(tokens.shape[-2], dtype=torch.bool)]


def behind_the_transformer(net, call):
    """Return the mask tokens that the hypernetworks get, and what `call` returns."""
    seen = []
    hook = net.transformer.register_forward_hook(lambda _, __, out: seen.append(out[0][:, 0]))
    result = call()
    hook.remove()
    return seen[0][:, 1 : 1 + len(net.mask_tokens)], result


def test_classes_are_told_apart_behind_the_transformer():
    """Short tokens would be one token there, and every prompt would speak to all classes alike."""
    net, given = decoder(), inputs()
    tokens, _ = behind_the_transformer(net, lambda: net(*given))
    assert cosines(tokens).max() < 0.99


def test_the_code_of_a_class_is_added_to_its_mask_token_and_to_no_other():
    net, given = decoder(), inputs()
    code = torch.randn(3, 32)
    with_code = net(*given, code)[0]
    net.mask_tokens.data[1:] += code
    assert torch.equal(with_code, net(*given)[0])


def test_a_permutation_of_the_codes_in_the_prompts_changes_the_masks():
    """A prompt speaks to the class whose code it holds."""
    net, (z, fine, place, history, corners), code = decoder(), inputs(), torch.randn(3, 32)
    logits = net(z, fine, place, history, corners + code, code)[0]
    others = net(z, fine, place, history, corners + code[[1, 2, 0]], code)[0]
    assert (logits - others).norm() > 0.01 * logits.norm()
