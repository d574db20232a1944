"""What is stopped and resumed: a command, the files that it must leave, and the moments of the stops."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Protocol

from interruptions.processes import Moment, Stages


class Work(Protocol):
    """A command that can be resumed.

    `contents` are compared with those of an undisturbed run: after every stop the files that are there, and at the end
    all of them.
    """

    title: str
    stages: Stages

    def arguments(self, output: Path) -> list[str]:
        """Return the command line that begins the work in `output`, or goes on with it."""

    def contents(self, output: Path, *, finished: bool) -> dict[str, str]:
        """Return, for each file with its final name, a text that is the same for any two runs.

        Args:
            finished: Whether the run has reached its end, so that files that grow are complete.
        """

    def moment(self, draw: random.Random, length_s: float) -> Moment:
        """Draw a moment to stop at; an undisturbed run takes `length_s`."""
