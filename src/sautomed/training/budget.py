"""Time and steps that a training may take."""

import time
from collections.abc import Callable
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
        from_first: Returns the number of the first of several ranks, so that all of them decide alike.
    """

    steps: int
    seconds: float | None = None
    spent_s: float = 0.0
    reserve_s: float = 0.0
    clock: Clock = "wall"
    from_first: Callable[[float], float] | None = None
    _since: float | None = None
    _agreed_s: float | None = None

    def start(self) -> None:
        self._since = now_s(self.clock)
        self.agree()

    def agree(self) -> None:
        """Take over the seconds of the first rank, and keep them until this is called again; if there is a limit."""
        if self.from_first is not None and self.seconds is not None:
            self._agreed_s = self.from_first(self._own_s())

    def end(self) -> None:
        """Count by the own clock again, when all ranks have trained."""
        self.from_first = self._agreed_s = None

    def elapsed_s(self) -> float:
        return self._own_s() if self._agreed_s is None else self._agreed_s

    def _own_s(self) -> float:
        return self.spent_s + (0.0 if self._since is None else now_s(self.clock) - self._since)

    def progress(self, step: int) -> float:
        """Return the fraction done, 0 to 1."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return min(self.elapsed_s() / max(self.seconds - self.reserve_s, 1e-9), 1.0)
