"""Run commands in forks of this process, and stop them at chosen moments.

A fork has imported everything already, so that a kill costs a fraction of a second and not the ten seconds of starting
Python. Needs Linux or macOS, and no other threads in this process.
"""

from __future__ import annotations

import functools
import mmap
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.003  # more often takes a part of the machine itself
ENDING_S = 60.0  # a child that got SIGTERM or should end by itself has so long, and then counts as hanging


class Stages:
    """Stage that a child is in, kept in memory that it shares with its parent.

    Args:
        names: Of the stages; a child is in the first where it is in no other.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.stopped_in = names[0]  # stage in which the last child was sent its signal
        self._memory = mmap.mmap(-1, 1 + len(names))

    def reset(self) -> None:
        """Start again for the next child."""
        self._memory[:] = bytes(len(self._memory))

    def note_stop(self) -> None:
        """Keep the present stage as the one in which the child is stopped."""
        self.stopped_in = self.names[self._memory[0]]

    def entered(self, name: str) -> int:
        """Return how often the child has entered a stage, up to 255."""
        return self._memory[1 + self.names.index(name)]

    def record(self, owner: Any, original: Callable[..., Any], name: str) -> None:
        """Replace a function of a class or module by one that is this stage as long as it runs."""
        stage, memory = self.names.index(name), self._memory

        @functools.wraps(original)
        def recorded(*arguments: Any, **named: Any) -> Any:
            before = memory[0]
            memory[0], memory[1 + stage] = stage, min(memory[1 + stage] + 1, 255)
            try:
                return original(*arguments, **named)
            finally:
                memory[0] = before

        setattr(owner, original.__name__, recorded)


class TemporaryFiles:
    """The folder that children have for temporary files, and the largest file that was seen in it.

    Args:
        folder: Their $TMPDIR.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.largest_bytes, self.largest_name = 0, ""

    def look(self) -> None:
        """Note the sizes of the files that are there now."""
        for place, _, names in os.walk(self.folder):
            for name in names:
                try:
                    size = os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118  (all the time)
                except OSError:  # deleted just now
                    continue
                if size >= self.largest_bytes:
                    self.largest_bytes, self.largest_name = size, name


@dataclass(frozen=True)
class Moment:
    """When and how a child is stopped.

    Args:
        delay_s: Seconds since its start, or since it entered `stage`.
        stage: Name of a stage, or "".
        visit: Which time that it enters the stage, from 1.
        signal: SIGKILL or SIGTERM.
    """

    delay_s: float
    stage: str = ""
    visit: int = 1
    signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Children:
    """How commands are run.

    Args:
        stages: Recorded by functions of the command.
        temporary: Folder of their temporary files.
        log: File for what the last child printed.
    """

    stages: Stages
    temporary: TemporaryFiles
    log: Path

    def run_to_the_end(self, arguments: list[str]) -> int:
        """Run a command undisturbed and return its exit code."""
        child = self._start(arguments)
        while (code := _code_of(child)) is None:
            self.temporary.look()
            time.sleep(LOOK_EVERY_S)
        return code

    def run_until(self, arguments: list[str], moment: Moment) -> int:
        """Run a command, stop it at a moment, and return its exit code: minus the signal if that ended it.

        Raises:
            TimeoutError: It did not end after SIGTERM; it is killed.
        """
        child = self._start(arguments)
        since = None if moment.stage else time.monotonic()
        while since is None or time.monotonic() - since < moment.delay_s:
            code = _code_of(child)
            if code is not None:
                return code
            self.temporary.look()
            if since is None and self.stages.entered(moment.stage) >= moment.visit:
                since = time.monotonic()
            time.sleep(LOOK_EVERY_S)
        os.kill(child, moment.signal)
        self.stages.note_stop()  # after SIGKILL the last one, after SIGTERM that of some microseconds later
        return self._last_code(child)

    def _last_code(self, child: int) -> int:
        end = time.monotonic() + ENDING_S
        while (code := _code_of(child)) is None:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise TimeoutError(f"not ended {ENDING_S:g} s after the signal")
            self.temporary.look()
            time.sleep(LOOK_EVERY_S)
        self.temporary.look()
        return code

    def _start(self, arguments: list[str]) -> int:
        """Start a command in a fork of this process and return its process id."""
        self.stages.reset()
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = 99
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ["TMPDIR"] = str(self.temporary.folder)
            tempfile.tempdir = None  # chosen again
            from sautomed.cli import run

            code = run(arguments)
        finally:
            os._exit(code)


def _code_of(child: int) -> int | None:
    """Return the exit code, or None if the child still runs."""
    ended, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None
