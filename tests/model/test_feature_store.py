"""Features along a walk: few are held, none holds the memory of its chunk, and those that went come back the same."""

from dataclasses import replace

from sautomed.model.feature_store import FeatureStore
from sautomed.model.walk import Walk
from sautomed.model.walk_order import WALKS, neighbours

from .walkers import Recorder, View, numbered

WALK_NAMES = tuple(WALKS)


def test_features_are_kept_for_a_few_slices_only_however_deep_the_volume():
    """Chunk and neighbours bound what is held: the chunk just read, and three slices for each of two walkers."""
    for depth in (5, 60, 400):
        for name in WALK_NAMES:
            for chunk in (1, 8):
                model, most = Recorder(), 0
                steps = WALKS[name](depth)
                store = FeatureStore(model, View(numbered, depth), steps, chunk)
                for number, step in enumerate(steps):
                    store.of([n for t in step.slices for n in neighbours(t, depth)])
                    most = max(most, len(store.kept))
                    store.release(number + 1)
                assert most <= chunk + 6
                assert not store.kept


def test_kept_features_do_not_hold_the_memory_of_their_chunk():
    steps = WALKS["end_to_end"](20)
    store = FeatureStore(Recorder(), View(numbered, 20), steps, 8)
    kept = store.of([19])
    assert kept.coarse.untyped_storage().nbytes() == kept.coarse.nbytes
    assert all(f.coarse.untyped_storage().nbytes() == f.coarse.nbytes for f in store.kept.values())
    assert all(m.untyped_storage().nbytes() == m.nbytes for f in store.kept.values() for m in f.fine)


def test_features_come_back_in_the_chunk_of_the_first_time():
    model = Recorder()
    walk = Walk(model, View(numbered, 30), WALKS["mid_to_ends"](30), 4, 5 * 24)
    list(walk)
    first = list(model.encoded)
    for t in (20, 3, 15, 28):
        state = walk.state(t)
        list(walk.resume(t, replace(state, history=state.history + 1)))
    assert len(model.encoded) > len(first)
    assert all(batch in first for batch in model.encoded)


def test_nbytes_is_the_memory_of_the_maps():
    store = FeatureStore(Recorder(), View(numbered, 9), WALKS["end_to_end"](9), 4, 2**20)
    store.of([8])
    maps = [m for f in store.kept.values() for m in (f.coarse, *f.fine)]
    assert store.nbytes == sum(m.untyped_storage().nbytes() for m in maps) == 4 * 24


def test_the_least_recently_used_go_first():
    store = FeatureStore(Recorder(), View(numbered, 9), WALKS["end_to_end"](9), 3, 2 * 24)
    for t in (8, 7, 6, 8):
        store.of([t])
    store.release(9)
    assert list(store.kept) == [6, 8]


def test_features_beyond_the_budget_go_into_a_file_and_come_back_to_the_last_bit(tmp_path):
    for name in WALK_NAMES:
        model, order = Recorder(), WALKS[name](30)
        walk = Walk(model, View(numbered, 30), order, 4, 5 * 24, spill=tmp_path)
        first = {part.index: part.logits for part in walk}
        assert walk.features.nbytes <= 5 * 24
        assert sum(map(len, model.encoded)) == 30
        for t in (20, 3, 15, 28):
            assert walk.look_again(t).predicted.logits.equal(first[t])
            assert walk.features.nbytes <= 5 * 24
        assert sum(map(len, model.encoded)) == 30  # no slice passed the trunk again
    assert list(tmp_path.iterdir()) == []  # the file has no name, and goes with the process
