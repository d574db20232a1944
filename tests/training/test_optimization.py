"""Weight decay and the average of the weights."""

import copy

import pytest
import torch

from sautomed.config import TrainSettings
from sautomed.model.build import build
from sautomed.training.optimization import HEAD_RATE, make_optimizer, warming_average


def test_weight_decay_is_for_matrices_only(fresh_model, small_settings):
    settings = small_settings.train.model_copy(update={"weight_decay": 0.3})
    decayed, free = make_optimizer(fresh_model, settings).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in fresh_model.named_parameters()}
    assert all(p.ndim >= 2 and names[id(p)].endswith("weight") for p in decayed["params"])
    assert any("mask_tokens" in names[id(p)] for p in free["params"])  # tokens are no matrices of layers
    assert min(p.ndim for p in decayed["params"]) == 2
    trained = sum(p.requires_grad for p in fresh_model.parameters())
    assert len(decayed["params"]) + len(free["params"]) == trained


@pytest.mark.parametrize(("count", "keep"), [(1, 2 / 11), (10, 11 / 20), (10_000, 0.9)])
def test_the_average_forgets_quickly_at_first(count, keep):
    mean, whole = torch.tensor([1.0, 3.0]), torch.tensor([4])
    warming_average(0.9)([mean, whole], [torch.tensor([2.0, 3.0]), torch.tensor([7])], count)
    torch.testing.assert_close(mean, torch.tensor([keep * 1 + (1 - keep) * 2, 3.0]))
    assert whole.item() == 7  # counters are copied


def test_the_prompt_head_learns_at_a_higher_rate(small_settings):
    model = build(small_settings.model.model_copy(update={"prompt_head": True}), 2, 128)
    settings = TrainSettings(learning_rate=1e-3)
    head = {id(parameter) for parameter in model.prompt_head.parameters()}
    groups = make_optimizer(model, settings).param_groups
    rates = {(id(p) in head, group["lr"]) for group in groups for p in group["params"]}
    assert rates == {(False, 1e-3), (True, HEAD_RATE * 1e-3)}
    decayed = {(id(p) in head, p.ndim > 1) for group in groups for p in group["params"] if group["weight_decay"]}
    assert decayed == {(False, True), (True, True)}


def test_a_training_of_an_earlier_version_goes_on_as_it_would_have(fresh_model, small_settings):
    """Its checkpoint holds the state of an optimiser that goes from parameter to parameter."""
    settings = small_settings.train.model_copy(update={"learning_rate": 0.1})  # so large that differences show
    now = make_optimizer(fresh_model, settings)
    twin = copy.deepcopy(fresh_model)
    groups = make_optimizer(twin, settings).param_groups
    earlier = torch.optim.AdamW([{key: g[key] for key in ("params", "weight_decay", "lr")} for g in groups])
    for step in range(4):
        if step == 2:
            fresh_model.load_state_dict(twin.state_dict())
            now.load_state_dict(copy.deepcopy(earlier.state_dict()))
        for one, other in zip(fresh_model.parameters(), twin.parameters(), strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
        earlier.step()
        if step >= 2:
            now.step()
    for one, other in zip(fresh_model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other)
