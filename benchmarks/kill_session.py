"""Kill sessions at random moments and count the acknowledged edits that are lost.

    python benchmarks/kill_session.py [--kills 200] [--seed 0]

A child process edits a small scan at random, with all that a person can do. After every edit and every propagated
slice it notes how long the log is and a hash of the labels: from then on the edit is acknowledged. It is killed
(SIGKILL) at a random moment. The log must then hold every acknowledged edit, and at most the one that was being made;
opened again, a session must show what was noted. Needs os.fork.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

import sautomed
from bench import machine
from interruptions.small import write_case, write_model
from sautomed.editing.log import NAME
from sautomed.errors import UsageError
from sautomed.scans.volume import Volume

LONGEST_S = 1.0  # that a child edits


def edit_without_end(session: sautomed.Session, draw: random.Random, acknowledge: Callable[[], object]) -> None:
    """Edit at random; propagate what was given, and sometimes break off."""
    rows, columns = session.label_slice(0).shape
    while True:
        t, organ = draw.randrange(session.depth), draw.choice(list(session.organs.values()))
        x, y = draw.randrange(columns - 8), draw.randrange(rows - 8)
        brush = np.zeros((rows, columns), bool)
        brush[y : y + draw.randint(1, 20), x : x + draw.randint(1, 20)] = True
        name = draw.choice(["give_box", "absent", "paint", "erase", "forget", "lock", "release", "undo", "redo"])
        arguments = {
            "give_box": (t, organ, (x, y, x + 15, y + 15)), "absent": (t, organ), "forget": (t, organ),
            "paint": (t, organ, brush), "erase": (t, organ, brush), "lock": (t,), "release": (t,),
        }.get(name, ())  # fmt: skip
        try:
            getattr(session, name)(*arguments)
        except UsageError:  # the slice is locked
            continue
        acknowledge()
        for _ in session.propagate(t):
            acknowledge()
            if draw.random() < 0.1:
                break


def kill_once(model: sautomed.Model, volume: Volume, folder: Path, draw: random.Random) -> tuple[int, int, bool]:
    """Return the lines that were acknowledged, those in the log, and whether the session shows what was noted."""
    notes, seed, moment_s = folder / "notes", draw.random(), draw.uniform(0, LONGEST_S)
    notes.write_bytes(b"")
    child = os.fork()
    if child == 0:
        session, stream = sautomed.edit(model, volume, folder=folder), notes.open("ab", buffering=0)
        edit_without_end(
            session,
            random.Random(seed),
            lambda: stream.write(f"{lines_of(folder)} {digest_of(session)}\n".encode()),
        )
    while not notes.stat().st_size:
        time.sleep(0.002)
    time.sleep(moment_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    noted, digest = notes.read_text().rpartition("\n")[0].rpartition("\n")[2].split()
    found, until_then = lines_of(folder), folder / "until_then"
    until_then.mkdir()
    lines = (folder / NAME).read_bytes().split(b"\n")[: int(noted)]
    (until_then / NAME).write_bytes(b"\n".join([*lines, b'{"torn']))
    with sautomed.edit(model, volume, folder=until_then) as then, sautomed.edit(model, volume, folder=folder):
        return int(noted), found, digest_of(then) == digest


def lines_of(folder: Path) -> int:
    return (folder / NAME).read_bytes().count(b"\n")


def digest_of(session: sautomed.Session) -> str:
    return sha256(session.labels.array.tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    draw, edits, unfinished, lost, other = random.Random(chosen.seed), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        write_model(Path(place) / "model")
        write_case(Path(place) / "scan.nii.gz", chosen.seed)
        model = sautomed.load(Path(place) / "model", "cpu")
        volume = model.read(Path(place) / "scan.nii.gz")
        for number in range(chosen.kills):
            folder = Path(place) / f"session_{number}"
            folder.mkdir()
            noted, found, same = kill_once(model, volume, folder, draw)
            edits, unfinished, lost, other = (
                edits + noted - 1, unfinished + (found > noted), lost + max(noted - found, 0), other + (not same),
            )  # fmt: skip
            if found > noted + 1:
                raise SystemExit(f"session {number} has {found - noted} edits that nobody acknowledged")
    print(f"{machine()}")
    print(f"{chosen.kills} kills after {edits} acknowledged edits: {lost} lost, {unfinished} more were in the log,")
    print(f"{other} sessions showed something else than what was acknowledged")


if __name__ == "__main__":
    main()
