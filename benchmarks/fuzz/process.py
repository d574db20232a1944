"""A process that reads inputs, as its parent sees it."""

import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context

import psutil

from fuzz.child import OURS, TERMINAL, Block, Finding, Report, WorkerSetup, keep_finding, run
from fuzz.tally import Tally

MEMORY_LIMIT_MB = 2000
STARTING_S = 60.0  # time limit for a process that is still loading its libraries
CONTEXT = get_context("spawn")


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
