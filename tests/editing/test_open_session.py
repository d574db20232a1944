"""A session is opened by paths too, within the memory of the machine; features that do not fit go into a file."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.editing import edit, edited_volume, open_session
from sautomed.inference import memory

from .conftest import SHAPE
from .operations import DEPTH, Operation


@pytest.fixture
def scan(volume, tmp_path):
    nibabel.save(nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), np.diag([2, 2, 5, 1])), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_a_scan_that_does_not_fit_into_memory_is_refused_before_it_is_read(model, scan, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    monkeypatch.setattr(type(model), "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(errors.MemoryShortage, match="even one slice at a time"):
        edit(model, scan)


def test_fewer_slices_pass_the_trunk_together_if_memory_asks_for_it(model, scan, monkeypatch):
    monkeypatch.setattr(open_session, "choose_chunk", lambda *_, **__: (2, None))
    with edit(model, scan) as opened:
        assert opened.model.settings.segment.chunk == 2
        assert opened.labels.array.shape == SHAPE


def test_a_session_needs_more_memory_than_segmenting_and_no_more_than_its_budgets(model, scan):
    from sautomed.scans import read_geometry

    geometry, cost = read_geometry(scan), memory.trunk_cost(model.network, 128)
    segmenting, editing = (
        memory.predict(geometry, model, cost, 4, 0, session=kept).segmenting for kept in (False, True)
    )
    assert segmenting < editing
    # 500 slices at 512 pixels, of a trunk with 8 MB of features a slice
    deep = replace(geometry, native=replace(geometry.native, shape=(512, 512, 500)))
    large = replace(cost, features=8_000_000)
    segmenting, editing = (memory.predict(deep, model, large, 4, 0, session=kept).segmenting for kept in (False, True))
    states = 500 * 2 * 3 * 128**2
    budgets = memory.FEATURE_BYTES + memory.CORRECTION_BYTES + 512 * 512 * 500 + states
    assert editing - segmenting <= budgets * memory.MARGIN + 1


def test_with_features_in_a_file_all_is_the_same_and_the_trunk_still_sees_every_slice_once(
    model, volume, tmp_path, monkeypatch
):
    found = []
    for budget in (2**30, 1):
        monkeypatch.setattr(edited_volume, "FEATURE_BYTES", budget)
        model.network.encoded = 0
        with edit(model, volume, folder=tmp_path / str(budget)) as opened:
            for t in (2, 6):
                Operation("paint", t, "bright", (1, 1, 14, 14)).run(opened)
                list(opened.propagate(t))
            assert model.network.encoded == DEPTH
            found.append(opened.labels.array)
        assert {path.name for path in (tmp_path / str(budget)).iterdir()} <= {"edits.jsonl", "edits.jsonl.lock"}
    assert np.array_equal(*found)
