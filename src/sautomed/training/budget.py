"""Time and steps that a training may take."""

import time
from dataclasses import dataclass
from typing import Literal

Clock = Literal["wall", "processor"]


def now_s(clock: Clock) -> float:
    """Return the time of that clock in seconds; only differences have a meaning."""
    return time.process_time() if clock == "processor" else time.monotonic()


@dataclass
class Budget:
    """Budget of a training: seconds if there is a limit, else steps.

    Attributes:
        steps: Length of the training, unless `seconds` is given.
        seconds: From the command to the finished model.
        spent_s: Seconds before `start`: earlier parts of a resumed training, and preparing.
        reserve_s: Seconds reserved for the final validation; known after one validation.
        clock: "wall" counts seconds that pass, "processor" those that this process computes, all threads together; that
            keeps a comparison fair on a machine that others use too.
    """

    steps: int
    seconds: float | None = None
    spent_s: float = 0.0
    reserve_s: float = 0.0
    clock: Clock = "wall"
    _since: float | None = None

    def start(self) -> None:
        self._since = now_s(self.clock)

    def elapsed_s(self) -> float:
        return self.spent_s + (0.0 if self._since is None else now_s(self.clock) - self._since)

    def progress(self, step: int) -> float:
        """Return the fraction done, 0 to 1."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return min(self.elapsed_s() / max(self.seconds - self.reserve_s, 1e-9), 1.0)
