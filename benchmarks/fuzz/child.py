"""The reading process; `fuzz_io.py` survives whatever happens to it."""

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
INPUT = "input"  # folder of the input, within that of the process
TERMINAL = "terminal.txt"  # file there for everything printed
ADDRESS_LIMIT_BYTES = 8 << 30  # larger allocations fail at once


class WrongResultError(Exception):
    """A reader should have raised an error, or returned something inconsistent."""

    kind = "wrong"


@dataclass(frozen=True)
class Block:
    """Consecutive inputs of one format, numbered from `first`."""

    format: str
    first: int
    count: int


@dataclass(frozen=True)
class Finding:
    """Unexpected result of reading an input.

    Args:
        name: What happened and where in the code; the same for repetitions.
        text: Details.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Report:
    """Result of one input.

    Args:
        outcome: "read", the class of the error, or "finding".
        peak_mb: Peak memory of the process and its children so far.
        mask: As in `readers.Reading`.
    """

    outcome: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    finding: Finding | None = None
    mask: str = ""


@dataclass
class WorkerSetup:
    """Arguments of a reading process.

    Args:
        reader: `OURS` or `PEERS`.
        seeds: Variants by format.
        random_seed: Seed of all random changes.
        folder: Folder of this process alone.
        keep: Folder for findings.
        whole: Digests of unchanged inputs, by the id of their seed.
    """

    reader: str
    seeds: dict[str, list[Seed]]
    random_seed: int
    folder: Path
    keep: Path
    whole: dict[int, str] = field(default_factory=dict)


def keep_finding(setup: WorkerSetup, block: str, number: int, finding: Finding) -> None:
    """Copy the current input of the process, unless there is a finding of this name already."""
    folder = setup.keep / f"{block}-{finding.name}"
    if folder.exists():
        return
    shutil.copytree(setup.folder / INPUT, folder / INPUT)
    (folder / "finding.txt").write_text(f"{block} {number}, --seed {setup.random_seed}\n\n{finding.text}\n")


def run(pipe: Any, setup: WorkerSetup) -> None:
    """Send a Report for each input of the blocks received through the pipe, until it is closed."""
    _prepare(setup)
    from fuzz import readers

    read = readers.read_by_us if setup.reader == OURS else readers.read_by_peer
    while True:
        try:
            block = pipe.recv()
        except EOFError:
            return
        for number in range(block.first, block.first + block.count):
            report = _report(read, setup, block.format, number)
            if report.finding and setup.reader == OURS:
                keep_finding(setup, block.format, number, report.finding)
            pipe.send(report)


def _prepare(setup: WorkerSetup) -> None:
    """Ignore interrupts, limit memory, turn warnings into errors, and send printed text to a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_LIMIT_BYTES, ADDRESS_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(setup.folder)
    terminal = os.open(TERMINAL, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    warnings.simplefilter("error" if setup.reader == OURS else "ignore")
    for unseen in (DeprecationWarning, PendingDeprecationWarning):  # hidden from users
        warnings.simplefilter("ignore", unseen)


def _report(read: Any, setup: WorkerSetup, format_name: str, number: int) -> Report:
    given = mutated(setup.seeds[format_name], number, setup.random_seed)
    folder = setup.folder / INPUT
    outcome, finding, mask = "finding", None, ""
    whole = _whole(read, setup, given.seed, folder) if given.cut else ""
    write_input(folder, given.seed, given.files)
    began = time.perf_counter()
    try:
        found = read(folder, given.seed, given.options, random.Random(f"{setup.random_seed} {number}"))
        outcome, mask = found.outcome, found.mask
        if found.digest and given.cut and not found.warned and found.digest != whole:
            finding = Finding("cut-short-but-read", f"{given.options}: read without a warning, but incompletely")
    except Exception as error:  # noqa: BLE001  any exception is a finding
        finding = Finding(_name_of(error), "".join(traceback.format_exception(error)) + f"\n{given.options}")
    seconds = time.perf_counter() - began
    printed = _printed()
    if printed and setup.reader == OURS and finding is None:
        finding = Finding(f"printed-{_letters(printed)}", f"{given.options}\n{printed}")
    return Report("finding" if finding else outcome, seconds, peak_mb(), finding, mask)


def _whole(read: Any, setup: WorkerSetup, seed: Seed, folder: Path) -> str:
    """Return the digest of the unchanged input."""
    if id(seed) not in setup.whole:
        write_input(folder, seed, {})
        setup.whole[id(seed)] = read(folder, seed, seed.options, random.Random(0)).digest
    return setup.whole[id(seed)]


def write_input(folder: Path, seed: Seed, files: dict[str, bytes]) -> None:
    """Write the files of the seed, with some of them replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in {**packed(seed, seed.files), **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _printed() -> str:
    """Return the text printed since the last call."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not os.fstat(2).st_size:
        return ""
    text = os.pread(2, 2000, 0).decode(errors="replace")
    os.ftruncate(2, 0)
    return text


def _name_of(error: BaseException) -> str:
    """Return the exception with its innermost line in sautomed; of a wrong result, the message up to a colon."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}sautomed{os.sep}" in frame.filename]
    if isinstance(error, WrongResultError):
        return f"{error.kind}-{_letters(str(error).split(':')[0])}"
    last = (ours or frames)[-1]
    return f"{type(error).__name__}-{Path(last.filename).stem}-{last.name.strip('<>')}-{last.lineno}"


def _letters(text: str) -> str:
    return "".join(letter if letter.isalpha() and letter.isascii() else "-" for letter in text[:60]).strip("-")


def peak_mb() -> float:
    """Return the peak memory of this process and its children."""
    scale = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB elsewhere
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / scale
