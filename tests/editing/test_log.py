"""The log: what was acknowledged is never lost, a torn last line is, and other scans' logs are refused."""

import errno
import json
import os
import random
import signal
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sautomed import errors
from sautomed.editing.edits import FrozenSlice
from sautomed.editing.lines import ComputedBy, Give, Header, Undo
from sautomed.editing.log import NAME, EditLog, scan_hash
from sautomed.inference.engine import Computing
from sautomed.inference.model import Model
from sautomed.inference.prompts.document import GivenAbsence, GivenMask

from .operations import Operation, rectangle, sequences

OPENVINO = {"engine": "openvino", "precision": "bf16"}
HEADER = Header(scan="s", model="m", walk="mid_to_ends", organs=("bright", "dark"), name="a.nii.gz")
few = hypothesis_settings(max_examples=12)


def line(number=0):
    return Give(slice=number, organ="bright", given=GivenAbsence())


def write(folder, *lines):
    log = EditLog(folder, HEADER)
    for each in lines:
        log.append(each)
    log.close()
    return folder / NAME


def read(folder, header=HEADER):
    log = EditLog(folder, header)
    log.close()
    return log.lines


# --- sessions ---


@drawn(sequences, sequences)
@few
def test_a_session_that_is_opened_again_shows_and_undoes_the_same(open_session, tmp_path_factory, sequence, more):
    folder = tmp_path_factory.mktemp("session")
    with open_session(folder=folder) as session:
        for operation in sequence:
            operation.run(session)
        was, undone = session.labels.array, session.compare()
    with open_session(folder=folder) as again, open_session() as undisturbed:
        assert np.array_equal(again.labels.array, was)
        assert again.compare() == undone
        for operation in sequence:
            operation.run(undisturbed)
        for operation in more:  # with all that can be undone and redone
            operation.run(again)
            operation.run(undisturbed)
            assert np.array_equal(again.labels.array, undisturbed.labels.array)


def test_what_changes_nothing_is_no_line_and_no_edit_to_undo(open_session, tmp_path):
    with open_session(folder=tmp_path) as session:
        session.undo()
        session.absent(3, "dark")
        session.absent(3, "dark")
        session.redo()
        session.release(3)
        assert (tmp_path / NAME).read_text().count("\n") == 2  # the header, and absent
        session.undo()
        assert session.undo().slices == ()


def test_a_second_session_is_refused_until_the_first_is_closed(open_session, tmp_path):
    first = open_session(folder=tmp_path)
    with pytest.raises(errors.TargetInUse, match="another session"):
        open_session(folder=tmp_path)
    first.close()
    open_session(folder=tmp_path).close()
    with pytest.raises(ValueError, match="closed"):
        first.absent(0, "dark")


def test_another_scan_model_or_walk_is_refused(model, volume, open_session, tmp_path):
    from sautomed.editing import edit
    from sautomed.inference.model import with_walk

    open_session(folder=tmp_path).close()
    other_model = Model(model.bundle, model.device, sha256="1" * 64)
    other_walk = with_walk(model, "end_to_end")
    moved = replace(volume, affine=volume.affine + np.eye(4)[:, [3, 0, 1, 2]] * 0.1)
    for fault, changed in (
        ("another scan", (model, replace(volume, array=volume.array + 1))),
        ("another scan", (model, moved)),
        ("another model", (other_model, volume)),
        ("another walk", (other_walk, volume)),
    ):
        with pytest.raises(errors.LogMismatch, match=fault):
            edit(*changed, folder=tmp_path)
    open_session(folder=tmp_path).close()  # it is as it was, and free


def test_edits_of_another_engine_or_precision_are_made_again_with_a_warning(
    model, volume, open_session, tmp_path, caplog
):
    from sautomed.editing import edit

    with open_session(folder=tmp_path) as session:
        session.absent(3, "dark")
        was = session.given
    elsewhere = Model(model.bundle, model.device, computing=Computing(**OPENVINO))
    elsewhere.__dict__["sha256"] = model.sha256
    with edit(elsewhere, volume, folder=tmp_path) as session:
        assert session.given == was
        assert session.volume.warnings[-1] in caplog.text
        assert "on a result by PyTorch in float32, and now OpenVINO in bf16 computes it" in caplog.text
        assert "Open it with --engine torch --precision 32" in caplog.text
    with open_session(folder=tmp_path) as session:  # nothing was edited meanwhile
        assert session.volume.warnings == volume.warnings


def test_a_line_that_speaks_of_what_is_not_there_is_refused_and_the_log_is_free_again(open_session, tmp_path):
    with open_session(folder=tmp_path) as session:
        session.absent(3, "dark")
    whole = (tmp_path / NAME).read_bytes()
    mask = {"kind": "mask", "runs": [0, 9]}
    bomb = {"kind": "mask", "runs": [0, 10**18]}
    bomb_of_labels = FrozenSlice.of(np.zeros((9000, 9000), np.uint8)).packed
    for bad in (
        {"edit": "give", "slice": 99, "organ": "dark", "given": {"kind": "not here"}},
        {"edit": "give", "slice": 1, "organ": "liver", "given": {"kind": "not here"}},
        {"edit": "give", "slice": 1, "organ": "dark", "given": mask},
        {"edit": "give", "slice": 1, "organ": "dark", "given": bomb},
        {"edit": "give", "slice": 1, "organ": "dark", "given": {"kind": "box", "box": [1.0, 1.0, 99.0, 9.0]}},
        {"edit": "fill", "organ": "dark", "masks": {"99": {"kind": "mask", "runs": [480]}}},
        {"edit": "fill", "organ": "dark", "masks": {"1": mask}},
        {"edit": "travel", "slice": 1, "organs": ["dark"], "to": 2, "goes_on": False},
        {"edit": "travel", "slice": 3, "organs": ["dark"], "to": 99, "goes_on": False},
        {"edit": "lock", "slice": 1, "labels": {"shape": [3, 3], "dtype": "uint8", "packed": "AAAA"}},
        {"edit": "lock", "slice": 1, "labels": {"shape": [20, 24], "dtype": "uint8", "packed": bomb_of_labels}},
        {"edit": "dance"},
    ):
        (tmp_path / NAME).write_bytes(whole + json.dumps(bad).encode() + b"\n")
        with pytest.raises(errors.DamagedLog, match="line 3"):
            open_session(folder=tmp_path)
    (tmp_path / NAME).write_bytes(whole)
    open_session(folder=tmp_path).close()


def test_an_edit_that_cannot_be_written_down_is_not_made(open_session, tmp_path, monkeypatch):
    with open_session(folder=tmp_path) as session:
        session.absent(3, "dark")
        was, size = session.labels.array, (tmp_path / NAME).stat().st_size
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
            with pytest.raises(errors.UnwritableTarget, match="not made"):
                Operation("paint", 4, "bright", (1, 1, 9, 9))._run(session)
        assert np.array_equal(session.labels.array, was)
        assert (tmp_path / NAME).stat().st_size == size
        session.absent(5, "bright")
        now = session.labels.array
    with open_session(folder=tmp_path) as again:
        assert np.array_equal(again.labels.array, now)


# --- the file ---


@drawn(st.data())
@few
def test_a_file_that_is_cut_anywhere_has_all_lines_that_are_whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("log")
    lines = [line(0), line(1), Undo(), line(2)]
    whole = write(folder, *lines).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / NAME).write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n") - 1
    assert read(folder) == tuple(lines[: max(kept, 0)])
    write(folder, line(7))  # a new line does not join a torn one
    assert read(folder) == (*lines[: max(kept, 0)], line(7))


def test_damage_before_the_last_line_is_named_and_the_file_left_as_it_is(tmp_path):
    path = write(tmp_path, line(0), line(1), line(2))
    rows = path.read_bytes().split(b"\n")
    for number, fault in ((1, "first line"), (3, "line 3")):
        broken = b"\n".join([*rows[: number - 1], b"\0" * 20, *rows[number:]]) + b"torn"
        path.write_bytes(broken)
        with pytest.raises(errors.DamagedLog, match=fault):
            read(tmp_path)
        assert path.read_bytes() == broken


def test_another_version_of_the_format_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 4, "new": 1}) + "\n")
    with pytest.raises(errors.LogMismatch, match="format 4"):
        read(tmp_path)


def test_a_log_names_engine_and_precision_and_where_they_changed(tmp_path):
    assert json.loads(write(tmp_path).read_text())["precision"] == "32"
    write(tmp_path, line(0))
    there = HEADER.model_copy(update=OPENVINO)
    log = EditLog(tmp_path, there)
    assert "PyTorch in float32" in log.warning()
    log.append(line(1))
    log.append(line(2))
    log.close()
    assert read(tmp_path) == (line(0), ComputedBy(**OPENVINO), line(1), line(2))
    log = EditLog(tmp_path, there)
    assert log.warning() is None
    log.close()
    log = EditLog(tmp_path, HEADER)
    assert "OpenVINO in bf16" in log.warning()
    log.close()


def test_a_log_without_edits_warns_of_nothing(tmp_path):
    write(tmp_path)
    log = EditLog(tmp_path, HEADER.model_copy(update=OPENVINO))
    assert log.warning() is None
    log.close()


def test_a_log_from_before_engines_could_be_chosen_is_of_pytorch_in_float32(tmp_path):
    path = write(tmp_path, line(0))
    header, *rows = path.read_text().splitlines(keepends=True)
    before = {name: value for name, value in json.loads(header).items() if name not in OPENVINO} | {"version": 2}
    path.write_text("".join([json.dumps(before) + "\n", *rows]))
    log = EditLog(tmp_path, HEADER)
    assert (log.lines, log.warning()) == ((line(0),), None)
    log.close()
    log = EditLog(tmp_path, HEADER.model_copy(update=OPENVINO))
    assert "PyTorch in float32" in log.warning()
    log.close()


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UnwritableTarget):
        EditLog(tmp_path / "file", HEADER)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("seed", range(6))
def test_a_process_that_is_killed_loses_no_line_that_it_acknowledged(tmp_path, seed):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        log, number = EditLog(tmp_path, HEADER), 0
        mask = GivenMask.of(np.random.default_rng(seed).random((64, 64)) < 0.5)
        while True:
            log.append(Give(slice=number, organ="dark", given=mask))
            os.write(theirs, b".")
            number += 1
    acknowledged = sum(len(os.read(ours, 1)) for _ in range(random.Random(seed).randrange(1, 40)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(theirs)
    while more := os.read(ours, 1000):
        acknowledged += len(more)
    os.close(ours)
    found = read(tmp_path)
    assert [each.slice for each in found] == list(range(len(found)))
    assert len(found) in (acknowledged, acknowledged + 1)  # the last may be written and not acknowledged yet


# --- hashes ---


def test_the_hash_of_a_scan_is_of_its_voxels_and_their_place(volume):
    assert scan_hash(volume) == scan_hash(replace(volume, array=np.asfortranarray(volume.array), path=None))
    other = volume.array.copy()
    other[4, 5, 6] += 1e-3
    moved = volume.affine.copy()
    moved[0, 3] += 0.01
    hashes = {scan_hash(found) for found in (volume, replace(volume, array=other), replace(volume, affine=moved))}
    assert len(hashes) == 3


def test_masks_and_labels_come_back_from_their_text():
    mask = rectangle(3, 4, 9, 8)
    again = Give.model_validate_json(Give(slice=0, organ="dark", given=GivenMask.of(mask)).model_dump_json())
    assert np.array_equal(again.given.pixels(mask.shape), mask)
