"""Read a million damaged files, and report each that is neither read nor refused with one of our errors.

    python benchmarks/fuzz_io.py                                   30 minutes or a million inputs, whichever is first
    python benchmarks/fuzz_io.py --minutes 5 --formats nrrd nhdr   some formats
    python benchmarks/fuzz_io.py --workers 8 --seed 1 --keep findings
    python benchmarks/fuzz_io.py --seed 2 --parts parts            one part of a run; prints the total of all in `parts`

Valid files of every format are changed at random, mostly in their headers, and read in a process of their own. A
finding is any other result: another exception, a warning or other text on the terminal, the end of the process, more
than `--patience` seconds or 2 GB for one input, a file cut short that is read as if it were whole, or a mask that
changes. For a fifth of the scans that are read (a twenty-fifth for DICOM) a random label map is written on the scan's
grid in any format, and read by sautomed and by another library: voxels, grid and names must be those that were written.
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
from multiprocessing import connection
from pathlib import Path

from bench import in_fresh_process, machine, print_table
from fuzz.child import OURS, PEERS, Block, WorkerSetup
from fuzz.process import ReaderProcess
from fuzz.seeds import Seed, build_seeds
from fuzz.tally import COMPARED, Part, Tally, part_file, sum_of_parts, write_part

PEER_EVERY = 50
BLOCK = 50
SCANS = ("scan", "dicom")  # kinds of input; the others get a tenth of the time
PROGRESS_EVERY_S = 10.0


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
    if options.parts and part_file(options.parts, options.seed).exists():
        sys.exit(f"{part_file(options.parts, options.seed)} exists: give this part another --seed")
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
    sys.exit(_finish(fuzzing, seeds))


def _finish(fuzzing: Fuzzing, seeds: dict[str, list[Seed]]) -> int:
    """Print the tables, and those of all parts; return the exit code."""
    options = fuzzing.options
    part = Part((options.seed,), fuzzing.seconds / 60, fuzzing.tallies)
    print(f"{machine()}\n")
    _print_tables(part, seeds)
    if options.parts:
        write_part(options.parts, part)
        total = sum_of_parts(options.parts)
        print(f"\nTotal of the parts with seeds {', '.join(map(str, total.seeds))}:\n")
        _print_tables(total, seeds)
    return int(any(tally.findings for tally in fuzzing.tallies[OURS].values()))


def _print_tables(part: Part, seeds: dict[str, list[Seed]]) -> None:
    ours, peers = part.tallies[OURS], part.tallies[PEERS]
    per_second = part.inputs / (60 * part.minutes)
    print(f"{part.inputs} inputs in {part.minutes:.1f} minutes, {per_second:.0f} per second; {_masks(ours)}\n")
    head = ["format", "inputs", "read", "masks compared", "refused most often as", "findings", "slowest s"]
    print_table(head, [_row(name, tally, with_masks=True) for name, tally in ours.items() if tally.inputs])
    print("\nThe plain libraries, on every fiftieth block of the same inputs:\n")
    head = ["format and library", *head[1:3], "refused most often as (documented errors)", *head[5:]]
    print_table(head, [_row(f"{name}, {seeds[name][0].peer}", tally) for name, tally in peers.items() if tally.inputs])
    for who, side in ((OURS, ours), (PEERS, peers)):
        print(f"\n{_summary(who, side)}")
        for name, tally in side.items():
            for kind, count in tally.findings.most_common(6):
                print(f"  {name}: {count} x {kind}")


def _masks(ours: dict[str, Tally]) -> str:
    """Return how many masks were compared, and how many were refused with which errors."""
    masks = sum((tally.masks for tally in ours.values()), Counter[str]())
    refused = [f"{count} refused as {kind}" for kind, count in masks.most_common() if kind != COMPARED]
    return ", ".join([f"{masks[COMPARED]} masks compared", *refused])


def _summary(who: str, side: dict[str, Tally]) -> str:
    done, peak_mb = sum(tally.inputs for tally in side.values()), max(tally.peak_mb for tally in side.values())
    found = sum(sum(tally.findings.values()) for tally in side.values())
    return f"{who}: {found} findings, {1000 * found / max(done, 1):.1f} per thousand inputs, at most {peak_mb:.0f} MB"


def _row(name: str, tally: Tally, *, with_masks: bool = False) -> list[str]:
    refused = [(kind, count) for kind, count in tally.outcomes.most_common() if kind not in ("read", "finding")]
    most = ", ".join(f"{kind} {count}" for kind, count in refused[:3])
    masks = [str(tally.masks[COMPARED])] if with_masks else []
    found = sum(tally.findings.values())
    return [name, str(tally.inputs), str(tally.outcomes["read"]), *masks, most, str(found), f"{tally.slowest_s:.2f}"]


def _options(formats: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="default 30")
    parser.add_argument("--count", type=int, default=1_000_000, help="of inputs, default a million")
    parser.add_argument("--seed", type=int, default=0, help="random seed, default 0")
    parser.add_argument("--workers", type=int, default=1, help="processes that read, default 1")
    parser.add_argument("--formats", nargs="+", choices=formats, help="default all", metavar="FORMAT")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds for one input, default 10")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for findings")
    parser.add_argument("--parts", type=Path, help="folder with the results of the parts of a run, one for each --seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
