"""Refusals of a session, followed to the letter."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest

import sautomed
from sautomed.editing.log import NAME

from ..bad_input.conftest import write
from ..editing.conftest import model, open_session, volume  # noqa: F401  (fixtures)


@pytest.fixture
def logged(open_session, tmp_path):  # noqa: F811
    """Return a folder with a log of two edits, and what opens it."""
    with open_session(folder=tmp_path / "edits") as session:
        session.absent(3, "dark")
        session.absent(4, "dark")
    return tmp_path / "edits", lambda folder: open_session(folder=folder).close()


def test_a_session_that_is_open_elsewhere(refuse_call, open_session, logged, tmp_path):  # noqa: F811
    folder, opens = logged
    session = open_session(folder=folder)
    refusal = refuse_call("editing/log.py __init__ TargetInUse", opens, folder)
    refusal.asks("another folder").works(tmp_path / "other")
    refusal.asks("Close it there")
    session.close()
    refusal.works()


def test_a_log_of_another_scan(refuse_call, model, volume, logged, tmp_path):  # noqa: F811
    folder, _ = logged
    other = replace(volume, array=volume.array + 1)
    refusal = refuse_call(
        "editing/log.py _checked_header LogMismatch 2",
        lambda *given: sautomed.edit(model, *given).close(),
        other,
        folder,
    )
    refusal.asks("another folder").works(other, tmp_path / "other")
    refusal.asks("or the scan and the model of the log").works(volume, folder)


def test_a_log_of_another_version(refuse_call, logged, tmp_path):
    folder, opens = logged
    header, *lines = (folder / NAME).read_text().splitlines(keepends=True)
    (folder / NAME).write_text("".join([json.dumps(json.loads(header) | {"version": 99}) + "\n", *lines]))
    refusal = refuse_call("editing/log.py _checked_header LogMismatch", opens, folder)
    refusal.asks("Use the sautomed version that wrote it", "another folder").works(tmp_path / "other")


@pytest.mark.parametrize("cure", ["delete", "another"])
def test_a_log_with_a_damaged_line(refuse_call, logged, tmp_path, cure):
    folder, opens = logged
    rows = (folder / NAME).read_text().splitlines(keepends=True)
    (folder / NAME).write_text("".join([rows[0], "{}\n", *rows[2:]]))
    refusal = refuse_call("editing/log.py damaged DamagedLog", opens, folder)
    if cure == "another":
        refusal.asks("another folder").works(tmp_path / "other")
    else:
        number = int(refusal.take(r"Delete line (\d+) and all after it"))
        (folder / NAME).write_text("".join(rows[: number - 1]))
        refusal.works()


@pytest.mark.parametrize("cure", ["delete", "another"])
def test_a_log_with_a_damaged_first_line(refuse_call, logged, tmp_path, cure):
    folder, opens = logged
    (folder / NAME).write_text("what is this?\n")
    refusal = refuse_call("editing/log.py _checked_header DamagedLog", opens, folder)
    if cure == "another":
        refusal.asks("another folder").works(tmp_path / "other")
    else:
        refusal.asks("delete the file to begin anew")
        (folder / NAME).unlink()
        refusal.works()


@pytest.mark.parametrize("cure", ["free", "another"])
def test_a_full_disk(refuse_call, open_session, tmp_path, monkeypatch, cure):  # noqa: F811
    full, fsync = [False], os.fsync

    def write_through(descriptor):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", write_through)
    session = open_session(folder=tmp_path / "edits")
    full[0] = True
    refusal = refuse_call("editing/log.py _write UnwritableTarget", lambda where: where.absent(3, "dark"), session)
    refusal.asks("Free space there and edit again", "another folder")
    full[0] = False
    refusal.works(session if cure == "free" else open_session(folder=tmp_path / "other"))


def test_a_model_without_a_folder(refuse_call, trained_run, tmp_path):
    from sautomed.inference.model import Model

    scan, found = write(tmp_path / "scan.nii.gz"), sautomed.load(trained_run, "cpu")
    nowhere = Model(found.bundle, found.device)
    refusal = refuse_call(
        "editing/log.py header_of UsageError",
        lambda *given: sautomed.edit(*given).close(),
        nowhere,
        scan,
        tmp_path / "a",
    )
    refusal.asks("edit without a folder for the log").works(nowhere, scan)
    refusal.asks("Load it from its folder with sautomed.load")
    refusal.works(sautomed.load(trained_run, "cpu"), scan, tmp_path / "a")


def test_a_locked_slice(refuse_call, open_session):  # noqa: F811
    session = open_session()
    session.lock(3)
    refusal = refuse_call("editing/session.py _unlocked UsageError", session.absent, 3, "dark")
    session.release(int(refusal.take(r"session\.release\((\d+)\)")))
    refusal.works()


@pytest.fixture
def painted(open_session):  # noqa: F811
    """Return a session in which an organ is painted on two slices, at two ends of them."""
    session, everywhere = open_session(), np.ones((20, 24), bool)
    for t, place in ((1, np.s_[2:5, 2:5]), (7, np.s_[4:8, 4:9])):
        session.erase(t, "dark", everywhere)
        session.paint(t, "dark", masked(place))
    return session


def masked(place):
    mask = np.zeros((20, 24), bool)
    mask[place] = True
    return mask


def test_a_fill_from_a_slice_that_is_not_painted(refuse_call, painted):
    refusal = refuse_call("editing/fill.py _require_painted UsageError", painted.fill, 1, 6, "dark")
    t, organ = refusal.take(r"session\.paint\((\d+), '(\w+)', mask\)")
    painted.paint(int(t), organ, masked(np.s_[2:5, 2:5]))
    refusal.works()


def test_a_fill_between_shapes_that_do_not_overlap(refuse_call, painted):
    painted.erase(7, "dark", masked(np.s_[:5, :5]))
    refusal = refuse_call("editing/fill.py filled_masks UsageError", painted.fill, 1, 7, "dark")
    start, end = refusal.take(r"Paint the organ on more slices between (\d+) and (\d+), so that each overlaps the next")
    assert int(start) < 4 < int(end)
    painted.paint(4, "dark", masked(np.s_[2:8, 2:9]))
    refusal.works()


@pytest.mark.parametrize("cure", ["paint", "forget"])
def test_a_fill_over_slices_that_are_given_otherwise(refuse_call, painted, cure):
    painted.paint(7, "dark", masked(np.s_[2:5, 2:5]))
    painted.absent(3, "dark")
    painted.give_box(5, "dark", (2, 2, 8, 8))
    refusal = refuse_call("editing/fill.py _refuse_obstacles UsageError", painted.fill, 1, 7, "dark")
    slices = [int(t) for t in refusal.take(r"\(from 0\): ([\d, ]+)\.").split(", ")]
    if cure == "paint":
        refusal.asks("Paint it on each of them")
        for t in slices:
            painted.paint(t, "dark", masked(np.s_[2:5, 2:5]))
    else:
        organ = refusal.take(r"session\.forget\(3, '(\w+)'\)")
        for t in slices:
            painted.forget(t, organ)
    refusal.works()
    assert (2, "dark") in painted.given


def test_a_fill_over_slices_that_are_locked(refuse_call, painted):
    painted.paint(3, "dark", masked(np.s_[2:5, 2:5]))
    painted.lock(2)
    refusal = refuse_call("editing/fill.py _refuse_locks UsageError", painted.fill, 1, 3, "dark")
    painted.release(int(refusal.take(r"session\.release\((\d+)\)")))
    refusal.works()
    assert (2, "dark") in painted.given
