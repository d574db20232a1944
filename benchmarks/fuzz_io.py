"""Read a million damaged files, and report each that is neither read nor refused with one of our errors.

    python benchmarks/fuzz_io.py                                   30 minutes or a million inputs, whichever is first
    python benchmarks/fuzz_io.py --minutes 5 --formats nrrd nhdr   some formats
    python benchmarks/fuzz_io.py --workers 8 --seed 1 --keep findings

Valid files of every format are changed at random, mostly in their headers, and read in a process of their own. A
finding is any other result: another exception, a warning or other text on the terminal, the end of the process, more
than `--patience` seconds or 2 GB for one input, or a file cut short that is read as if it were whole.
Findings are kept with their input, one for each line of code. Formats get equal time. One block of fifty goes to
the plain libraries too (nibabel, SimpleITK, pydicom and others), for comparison.
Exit 1 if there are findings.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection, get_context
from pathlib import Path

import psutil

from bench import in_fresh_process, machine, print_table
from fuzz.child import OURS, PEERS, TERMINAL, Block, Finding, Report, WorkerSetup, keep_finding, run
from fuzz.seeds import Seed, build_seeds

MEMORY_LIMIT_MB = 2000
PEER_EVERY = 50
BLOCK = 50
SCANS = ("scan", "dicom")  # kinds of input; the others get a tenth of the time
STARTING_S = 60.0  # time limit for a process that is still loading its libraries
PROGRESS_EVERY_S = 10.0
CONTEXT = get_context("spawn")


@dataclass
class Tally:
    """Results of one format and one reader."""

    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    peak_mb: float = 0.0
    slowest_s: float = 0.0

    def add(self, report: Report) -> None:
        """Count one input."""
        self.inputs += 1
        self.seconds += report.seconds
        self.peak_mb, self.slowest_s = max(self.peak_mb, report.peak_mb), max(self.slowest_s, report.seconds)
        self.outcomes[report.outcome] += 1
        if report.finding:
            self.findings[report.finding.name] += 1


class ReaderProcess:
    """A process that reads inputs, restarted whenever it ends.

    Args:
        setup: Arguments of the process.
        tallies: Results by format.
    """

    def __init__(self, setup: WorkerSetup, tallies: dict[str, Tally]) -> None:
        self.setup, self.tallies = setup, tallies
        self.block: Block | None = None
        setup.folder.mkdir()
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=run, args=(theirs, self.setup))
        self._process.start()
        theirs.close()
        self._patience_s, self._since = STARTING_S, time.monotonic()

    def give(self, block: Block) -> None:
        """Start reading a block; the process must be idle."""
        self.block, self._since = block, time.monotonic()
        with suppress(OSError):  # the process has ended, which `take` notices
            self.pipe.send(block)

    def take(self, patience_s: float) -> None:
        """Count the reports received; restart the process if it ended, hangs or grew too large."""
        with suppress(EOFError, OSError):
            while self.block and self.pipe.poll():
                self._count(self.pipe.recv())
                self._patience_s = patience_s
        late = self.block is not None and time.monotonic() - self._since > self._patience_s
        code = self._process.exitcode
        if late:
            self._restart(Finding("hang", f"not done after {self._patience_s:g} s"))
        elif code is not None:
            printed = (self.setup.folder / TERMINAL).read_text(errors="replace")
            self._restart(Finding(f"end-of-process-{abs(code)}", f"exit code {code} (below 0: the signal)\n{printed}"))
        elif self._megabytes() > MEMORY_LIMIT_MB:
            self._restart(Finding("memory", f"more than {MEMORY_LIMIT_MB} MB"))

    def _count(self, report: Report) -> None:
        block = self.block
        if block is None:
            return
        if report.peak_mb > MEMORY_LIMIT_MB and report.finding is None:
            report = replace(report, finding=Finding("memory", f"{report.peak_mb:.0f} MB"), outcome="finding")
        self.tallies[block.format].add(report)
        self._since = time.monotonic()
        self.block = Block(block.format, block.first + 1, block.count - 1) if block.count > 1 else None

    def _restart(self, finding: Finding) -> None:
        """Record a finding for the input being read, restart the process, and give it the rest of the block."""
        if self.block is not None:
            if self.setup.reader == OURS:
                keep_finding(self.setup, self.block.format, self.block.first, finding)
            self._count(Report("finding", 0.0, 0.0, finding))
        self.end()
        self._start()
        if self.block is not None:
            self.give(self.block)

    def _megabytes(self) -> float:
        try:
            return psutil.Process(self._process.pid).memory_info().rss / 2**20
        except psutil.Error:  # it ended just now
            return 0.0

    def end(self) -> None:
        """End the process and its children."""
        processes: list[psutil.Process] = []
        with suppress(psutil.Error):
            processes = psutil.Process(self._process.pid).children(recursive=True)
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        self._process.kill()
        self._process.join()
        self.pipe.close()


class Fuzzing:
    """The whole run: inputs, reader processes and results."""

    def __init__(self, options: argparse.Namespace, seeds: dict[str, list[Seed]], folder: Path) -> None:
        self.options = options
        self.began = time.monotonic()
        self.tallies = {reader: {name: Tally() for name in seeds} for reader in (OURS, PEERS)}
        self.given = dict.fromkeys(seeds, 0)
        self._size = max(1, min(BLOCK, options.count // len(seeds)))
        self._for_peers: deque[Block] = deque()
        self._cost = {name: 1 if variants[0].kind in SCANS else 10 for name, variants in seeds.items()}
        self._with_peer = {name for name, variants in seeds.items() if variants[0].peer}
        setups = [WorkerSetup(OURS, seeds, options.seed, folder / f"{n}", options.keep) for n in range(options.workers)]
        self.readers = [ReaderProcess(setup, self.tallies[OURS]) for setup in setups]
        self.peer = ReaderProcess(
            WorkerSetup(PEERS, seeds, options.seed, folder / "peers", options.keep), self.tallies[PEERS]
        )

    def run(self) -> None:
        """Run until the time or the inputs are used up; then the peers have a tenth of the time to finish."""
        end_s, printed_s = 60 * self.options.minutes, 0.0
        while (busy := any(reader.block for reader in self.readers)) or self._more(end_s):
            self._step()
            if self.seconds - printed_s > PROGRESS_EVERY_S:
                printed_s = self.seconds
                self._print_progress(end_s)
            if self.seconds > end_s and not busy:
                break
        limit_s = 1.1 * max(self.seconds, 60)
        while (self.peer.block or self._for_peers) and self.seconds < limit_s:
            self._step()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.began

    def _more(self, end_s: float) -> bool:
        return self.seconds < end_s and sum(self.given.values()) < self.options.count

    def _step(self) -> None:
        for reader in self.readers:
            if reader.block is None and self._more(60 * self.options.minutes):
                reader.give(self._next_block())
        if self.peer.block is None and self._for_peers:
            self.peer.give(self._for_peers.popleft())
        everyone = [*self.readers, self.peer]
        connection.wait([reader.pipe for reader in everyone if reader.block], timeout=0.2)
        for reader in everyone:
            reader.take(self.options.patience)

    def _next_block(self) -> Block:
        """Return the next block of the format that has had the least time."""
        spent_s = {name: self.tallies[OURS][name].seconds * self._cost[name] for name in self.given}
        name = min(self.given, key=lambda name: (self.given[name] > 0, spent_s[name]))
        block = Block(name, self.given[name], min(self._size, self.options.count - sum(self.given.values())))
        if (block.first // self._size) % PEER_EVERY == 0 and name in self._with_peer:
            self._for_peers.append(block)
        self.given[name] += block.count
        return block

    def _print_progress(self, end_s: float) -> None:
        done = sum(tally.inputs for tally in self.tallies[OURS].values())
        kinds = len({(name, kind) for name, tally in self.tallies[OURS].items() for kind in tally.findings})
        left_s = min(end_s - self.seconds, (self.options.count - done) * self.seconds / max(done, 1))
        print(
            f"{done} inputs, {done / self.seconds:.0f} per second, {kinds} kinds of findings, "
            f"{max(left_s, 0) / 60:.1f} minutes left",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    seeds = in_fresh_process(build_seeds)
    options = _options(sorted(seeds))
    chosen = {name: seeds[name] for name in options.formats or seeds}
    options.keep.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    fuzzing = Fuzzing(options, chosen, folder)
    try:
        fuzzing.run()
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
    finally:
        for reader in (*fuzzing.readers, fuzzing.peer):
            reader.end()
        shutil.rmtree(folder)
    sys.exit(_tables(fuzzing, chosen))


def _tables(fuzzing: Fuzzing, seeds: dict[str, list[Seed]]) -> int:
    ours, peers = fuzzing.tallies[OURS], fuzzing.tallies[PEERS]
    done = sum(tally.inputs for tally in ours.values())
    print(
        f"{done} inputs in {fuzzing.seconds / 60:.1f} minutes, {done / fuzzing.seconds:.0f} per second\n{machine()}\n"
    )
    head = ["format", "inputs", "read", "refused most often as", "findings", "slowest s"]
    print_table(head, [_row(name, tally, "") for name, tally in ours.items() if tally.inputs])
    print("\nThe plain libraries, on every fiftieth block of the same inputs:\n")
    head[0], head[3] = "format and library", "refused most often as (documented errors)"
    print_table(head, [_row(name, tally, f", {seeds[name][0].peer}") for name, tally in peers.items() if tally.inputs])
    for who, side in ((OURS, ours), (PEERS, peers)):
        print(f"\n{_summary(who, side)}")
        for name, tally in side.items():
            for kind, count in tally.findings.most_common(6):
                print(f"  {name}: {count} x {kind}")
    return int(any(tally.findings for tally in ours.values()))


def _summary(who: str, side: dict[str, Tally]) -> str:
    done, peak_mb = sum(tally.inputs for tally in side.values()), max(tally.peak_mb for tally in side.values())
    found = sum(sum(tally.findings.values()) for tally in side.values())
    return f"{who}: {found} findings, {1000 * found / max(done, 1):.1f} per thousand inputs, at most {peak_mb:.0f} MB"


def _row(name: str, tally: Tally, peer: str) -> list[str]:
    refused = [(kind, count) for kind, count in tally.outcomes.most_common() if kind not in ("read", "finding")]
    most = ", ".join(f"{kind} {count}" for kind, count in refused[:3])
    found = sum(tally.findings.values())
    return [f"{name}{peer}", str(tally.inputs), str(tally.outcomes["read"]), most, str(found), f"{tally.slowest_s:.2f}"]


def _options(formats: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="default 30")
    parser.add_argument("--count", type=int, default=1_000_000, help="of inputs, default a million")
    parser.add_argument("--seed", type=int, default=0, help="random seed, default 0")
    parser.add_argument("--workers", type=int, default=1, help="processes that read, default 1")
    parser.add_argument("--formats", nargs="+", choices=formats, help="default all", metavar="FORMAT")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds for one input, default 10")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for findings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
