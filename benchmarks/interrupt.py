"""Kill a command at random moments, resume it, and compare what it leaves with an undisturbed run.

    python benchmarks/interrupt.py                              segment, 200 kills: some minutes on 2 cores
    python benchmarks/interrupt.py train --kills 100            train
    python benchmarks/interrupt.py train --tmpdir /dev/shm      with $TMPDIR on another file system than the run

`segment` works through a folder of small scans with a small random model, and is killed (SIGKILL) after a time drawn
uniformly from the length of an undisturbed run. `train` trains a small network; a third of its kills hit the writing
of a checkpoint, a third any step, a third the other stages, and a quarter of them are SIGTERM. The next run
resumes, and is killed as well. When a run reaches its end, its files are compared with those of the undisturbed one
(the weights bit for bit), and a new round begins in an empty folder. After every kill each file that has its final name
must be whole, above all checkpoints and model folders. Large files in $TMPDIR are faults, too.
Exit 1 if there are faults.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process that forks must have no other threads

from bench import machine
from interruptions.processes import Children, Moment, TemporaryFiles
from interruptions.segmenting import Segmenting
from interruptions.training import Training
from interruptions.work import Work

WORKS: dict[str, Callable[[Path], Work]] = {"segment": Segmenting, "train": Training}
TERMINATED = 128 + signal.SIGTERM  # exit code of a command that ends itself after SIGTERM
LARGE_BYTES = 100_000  # ours: far below a checkpoint, which has 2 MB here
PROGRESS_EVERY = 10


@dataclass
class Tally:
    """Counts of kills, completed runs and rounds, and the faults found."""

    kills: int = 0
    finished: int = 0
    rounds: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Interruptions:
    """A command that is stopped and resumed, again and again.

    Args:
        work: The command.
        children: How it is run.
        draw: For the moments.
    """

    def __init__(self, work: Work, children: Children, draw: random.Random) -> None:
        self.work, self.children, self.draw, self.tally = work, children, draw, Tally()
        self.length_s, self.wanted = 0.0, dict[str, str]()

    def run_undisturbed(self, output: Path) -> None:
        """Learn what a whole run takes and leaves."""
        began = time.monotonic()
        if self.children.run_to_the_end(self.work.arguments(output)):
            sys.exit(f"the undisturbed run failed:\n{self.children.log.read_text()}")
        self.length_s = time.monotonic() - began
        self.wanted = self.work.contents(output, finished=True)

    def play_round(self, output: Path, kills: int) -> None:
        """Kill and resume until a run reaches its end, and compare; after the last kill a run is not killed."""
        code: int | None = None
        while code is None:
            if self.tally.kills >= kills:
                code = self.children.run_to_the_end(self.work.arguments(output))
            else:
                code = self._kill(output)
            self._compare(output, code)
        self.tally.finished += 1
        self.tally.rounds += 1

    def _kill(self, output: Path) -> int | None:
        """Run until a random moment; return None, or the exit code if the run ended otherwise."""
        moment = self.work.moment(self.draw, self.length_s)
        try:
            code = self.children.run_until(self.work.arguments(output), moment)
        except TimeoutError as error:
            self._fault(str(error))
            code = -signal.SIGKILL
        if code not in (-signal.SIGKILL, -signal.SIGTERM, TERMINATED):
            return code
        self.tally.kills += 1
        self.tally.stages[self.work.stages.stopped_in] += 1
        self.tally.endings[_ending(moment, code)] += 1
        if self.tally.kills % PROGRESS_EVERY == 0:
            print(f"{self.tally.kills} kills, {len(self.tally.faults)} faults", file=sys.stderr, flush=True)
        return None

    def _compare(self, output: Path, code: int | None) -> None:
        """Compare what is there with the undisturbed run; all of it if this run ended by itself."""
        found = self.work.contents(output, finished=code is not None)
        broken = sorted(name for name, text in found.items() if text != self.wanted.get(name))
        if broken:
            self._fault(f"{', '.join(broken)} not as wanted: {[found[name][:70] for name in broken]}")
        if code is None:
            return
        if code:
            self._fault(f"exit code {code}\n{self.children.log.read_text()}")
        missing = sorted(self.wanted.keys() - found.keys())
        if missing:
            self._fault(f"missing {missing}")
        left = sorted(path.name for path in output.rglob(".*"))
        if left:
            self._fault(f"left over {left}")

    def _fault(self, text: str) -> None:
        self.tally.faults.append(f"round {self.tally.rounds}, after kill {self.tally.kills}: {text}")


def _ending(moment: Moment, code: int) -> str:
    name = signal.Signals(moment.signal).name
    return f"{name} that ended the run at its next step" if code == TERMINATED else f"{name} that ended it at once"


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as place,
        tempfile.TemporaryDirectory(dir=options.tmpdir or place) as temporary,
    ):
        faults = _run(options, Path(place), Path(temporary))
    sys.exit(1 if faults else 0)


def _run(options: argparse.Namespace, folder: Path, temporary: Path) -> list[str]:
    import torch

    torch.set_num_threads(1)
    print(f"{machine()}\n{_file_systems(folder, temporary, other=options.tmpdir is not None)}")
    work = WORKS[options.command](folder)
    files = TemporaryFiles(temporary)
    run = Interruptions(work, Children(work.stages, files, folder / "log.txt"), random.Random(options.seed))
    run.run_undisturbed(folder / "whole")
    print(f"undisturbed, {work.title}: {len(run.wanted)} files compared, {run.length_s:.2f} s; seed {options.seed}",
          flush=True)  # fmt: skip
    began = time.monotonic()
    while run.tally.kills < options.kills:
        run.play_round(folder / f"round_{run.tally.rounds}", options.kills)
    if files.largest_bytes > LARGE_BYTES:
        run.tally.faults.append(f"{files.largest_name} of {files.largest_bytes} bytes in $TMPDIR")
    _report(run.tally, work, files, time.monotonic() - began)
    return run.tally.faults


def _file_systems(folder: Path, temporary: Path, *, other: bool) -> str:
    """Return a line on where the run and its temporary files are; ends the script if they must differ and do not."""
    devices = folder.stat().st_dev, temporary.stat().st_dev
    if other and devices[0] == devices[1]:
        sys.exit(f"--tmpdir {temporary.parent} is on the same file system as the run (device {devices[0]}): {folder}")
    where = "the same file system" if devices[0] == devices[1] else "another file system"
    return f"the run on device {devices[0]}, its $TMPDIR on device {devices[1]}: {where}"


def _report(tally: Tally, work: Work, files: TemporaryFiles, seconds: float) -> None:
    hit = ", ".join(f"{tally.stages[stage]} {stage}" for stage in work.stages.names)
    print(f"{tally.kills} kills ({hit}), {tally.finished} runs to the end, {tally.rounds} rounds, {seconds:.0f} s")
    print(", ".join(f"{count} {ending}" for ending, count in sorted(tally.endings.items())))
    seen = f"{files.largest_bytes} bytes ({files.largest_name})" if files.largest_name else "none"
    print(f"largest file seen in $TMPDIR: {seen}")
    for fault in tally.faults:
        print(f"FAULT {fault}")
    print("every file whole and equal to the undisturbed run's" if not tally.faults else f"{len(tally.faults)} faults")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=sorted(WORKS), default="segment", help="default segment")
    parser.add_argument("--kills", type=int, default=200, help="default 200")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where the runs are written; default the system's temporary folder")
    parser.add_argument("--tmpdir", type=Path, help="folder on another file system for the $TMPDIR of the runs; "
                        "by default it is beside them")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
