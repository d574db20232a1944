"""The process that reads: whatever happens to it, `fuzz_io.py` goes on."""

import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.mutations import mutated
from fuzz.seeds import Seed, packed

OURS, PEERS = "sautomed", "plain libraries"
INPUT = "input"  # the folder of the input, within the process's own
TERMINAL = "terminal.txt"  # likewise: what reaches its terminal
ADDRESS_LIMIT_BYTES = 8 << 30  # beyond, memory is refused before it can be seen to grow


class WrongResultError(Exception):
    """A reader that raised nothing, but should have, or gave what contradicts itself."""


@dataclass(frozen=True)
class Block:
    """Inputs of one format: numbers from `first` on."""

    format: str
    first: int
    count: int


@dataclass(frozen=True)
class Finding:
    """What should not have happened.

    Args:
        name: What happened and where in the code; alike for what is alike.
        text: All that is known.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Report:
    """What one input did.

    Args:
        outcome: "read", the name of the fault, or "finding".
        peak_mb: The most that the process, or one that it started, has held so far.
    """

    outcome: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    finding: Finding | None = None


@dataclass
class Task:
    """What a process is started with.

    Args:
        reader: `OURS` or `PEERS`.
        seeds: Variants by format.
        chance: The seed of all chance.
        place: A folder of its own.
        keep: Where findings go.
    """

    reader: str
    seeds: dict[str, list[Seed]]
    chance: int
    place: Path
    keep: Path
    whole: dict[int, str] = field(default_factory=dict)


def keep_finding(task: Task, block: str, number: int, finding: Finding) -> None:
    """Copy the input that lies in the process's folder, unless there is one of this name already."""
    folder = task.keep / f"{block}-{finding.name}"
    if folder.exists():
        return
    shutil.copytree(task.place / INPUT, folder / INPUT)
    (folder / "finding.txt").write_text(f"{block} {number}, --seed {task.chance}\n\n{finding.text}\n")


def run(pipe: Any, task: Task) -> None:
    """Answer the blocks that come through the pipe with a Report for each input, until it is closed."""
    _prepare(task)
    from fuzz import readers

    read = readers.read_by_us if task.reader == OURS else readers.read_by_peer
    while True:
        try:
            block = pipe.recv()
        except EOFError:
            return
        for number in range(block.first, block.first + block.count):
            report = _report(read, task, block.format, number)
            if report.finding and task.reader == OURS:
                keep_finding(task, block.format, number, report.finding)
            pipe.send(report)


def _prepare(task: Task) -> None:
    """No interrupts, no dumps, bounded memory; all warnings are errors, and what is printed goes to a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_LIMIT_BYTES, ADDRESS_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(task.place)
    terminal = os.open(TERMINAL, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    warnings.simplefilter("error" if task.reader == OURS else "ignore")
    for unseen in (DeprecationWarning, PendingDeprecationWarning):  # users do not see them
        warnings.simplefilter("ignore", unseen)


def _report(read: Any, task: Task, format_name: str, number: int) -> Report:
    given = mutated(task.seeds[format_name], number, task.chance)
    folder = task.place / INPUT
    outcome, finding = "finding", None
    whole = _whole(read, task, given.seed, folder) if given.cut else ""
    write_input(folder, given.seed, given.files)
    began = time.perf_counter()
    try:
        found = read(folder, given.seed, given.options, random.Random(number))
        outcome = found.outcome
        if found.digest and given.cut and not found.warned and found.digest != whole:
            finding = Finding("cut-short-but-read", f"{given.options}: read without a warning, but not all of it")
    except Exception as error:  # noqa: BLE001  whatever it is, it is what we look for
        finding = Finding(_name_of(error), "".join(traceback.format_exception(error)) + f"\n{given.options}")
    seconds = time.perf_counter() - began
    printed = _printed()
    if printed and task.reader == OURS and finding is None:
        finding = Finding(f"printed-{_letters(printed)}", f"{given.options}\n{printed}")
    return Report("finding" if finding else outcome, seconds, peak_mb(), finding)


def _whole(read: Any, task: Task, seed: Seed, folder: Path) -> str:
    """What reading the unchanged input gives."""
    if id(seed) not in task.whole:
        write_input(folder, seed, {})
        task.whole[id(seed)] = read(folder, seed, seed.options, random.Random(0)).digest
    return task.whole[id(seed)]


def write_input(folder: Path, seed: Seed, files: dict[str, bytes]) -> None:
    """Lay out an input: the files of the seed, with some of them changed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in {**packed(seed, seed.files), **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _printed() -> str:
    """What has reached the terminal since it was last asked."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not os.fstat(2).st_size:
        return ""
    told = os.pread(2, 2000, 0).decode(errors="replace")
    os.ftruncate(2, 0)
    return told


def _name_of(error: BaseException) -> str:
    """The exception and the innermost line of ours that it passed; of what readers find themselves, its words."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}sautomed{os.sep}" in frame.filename]
    if isinstance(error, WrongResultError):
        return f"wrong-{_letters(str(error))}"
    last = (ours or frames)[-1]
    return f"{type(error).__name__}-{Path(last.filename).stem}-{last.name.strip('<>')}-{last.lineno}"


def _letters(text: str) -> str:
    return "".join(letter if letter.isalpha() and letter.isascii() else "-" for letter in text[:60]).strip("-")


def peak_mb() -> float:
    """The most that this process, or one that it started, has held."""
    scale = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB elsewhere
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / scale
