"""Training steps of every variant, the schedule, the budget and the averaged weights."""

import pytest
import torch

from sautomed.config import SegmentSettings
from sautomed.errors import TrainingDiverged
from sautomed.model.build import build
from sautomed.model.slice_walker import SliceWalker
from sautomed.training import budget as budget_module
from sautomed.training.budget import Budget
from sautomed.training.learner import Learner

from ..model.examples import make_run

TABLE_4 = {  # which parts are on: the paper's ablation
    "2D SAM": {"local_3d": False, "global_3d": False, "prompt": False},
    "local": {"local_3d": True, "global_3d": False, "prompt": False},
    "global": {"local_3d": False, "global_3d": True, "prompt": False},
    "local and global": {"local_3d": True, "global_3d": True, "prompt": False},
    "all": {"local_3d": True, "global_3d": True, "prompt": True},
}


def make_learner(model, small_settings, budget=None, **changes):
    settings = small_settings.train.model_copy(update=changes)
    return Learner(model, settings, budget or Budget(settings.steps), "repeat", SegmentSettings(), 0, 1)


def train_step(learner, run):
    """`training_step` outside a trainer."""
    learner.log_dict = lambda parts, **_: learner.__dict__.update(logged=parts)
    return learner.training_step(run, 0)


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
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: now[0])
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


def test_what_is_handed_out_is_the_average_if_there_is_one(fresh_model, small_settings):
    assert make_learner(fresh_model, small_settings, ema=0.0).best_model is fresh_model
    learner = make_learner(fresh_model, small_settings, ema=0.9)
    assert learner.best_model is not fresh_model
    assert isinstance(learner.best_model, SliceWalker)
    assert not any(p.requires_grad for p in learner.best_model.parameters())


def test_processor_time_does_not_pass_while_others_work(monkeypatch):
    moments = {"monotonic": 0.0, "process_time": 0.0}
    for name in moments:
        monkeypatch.setattr(budget_module.time, name, lambda name=name: moments[name])
    wall, own = Budget(steps=1, seconds=10.0), Budget(steps=1, seconds=10.0, clock="processor")
    wall.start()
    own.start()
    moments |= {"monotonic": 8.0, "process_time": 2.0}
    assert wall.progress(0) == pytest.approx(0.8)
    assert own.progress(0) == pytest.approx(0.2)


def test_several_ranks_go_by_the_clock_of_the_first_one(clock):
    """Each asks when all do, so what a rank's own clock says in between makes no difference."""
    first, others = Budget(1, seconds=100), [Budget(1, seconds=100, spent_s=offset) for offset in (5, 9)]
    for budget in others:
        budget.from_first = lambda _: first.elapsed_s()
    for budget in (first, *others):
        budget.start()
    clock[0] += 40
    assert [budget.progress(0) for budget in others] == [0, 0]
    for budget in others:
        budget.agree()
    assert [budget.progress(0) for budget in others] == [0.4, 0.4]
    clock[0] += 10
    assert [budget.elapsed_s() for budget in others] == [40, 40]
    others[0].end()
    assert others[0].elapsed_s() == 55


def test_a_budget_of_steps_asks_no_other_rank():
    budget = Budget(10, from_first=lambda _: pytest.fail("nothing to agree on"))
    budget.start()
    budget.agree()
    assert budget.progress(5) == 0.5
