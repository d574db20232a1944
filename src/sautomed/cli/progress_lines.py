"""Progress as lines of a log, for commands without a terminal, as under nohup or Slurm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

# Ours: seconds between a stage's lines, in order; the last repeats. A line soon shows that all is well, and a log of a
# day stays readable.
GAPS_S = (10.0, 30.0, 60.0, 120.0, 300.0)
VERBOSE_GAPS_S = (2.0, 5.0, 10.0)
_AT_ONCE_S = 1.0  # ours: what is done within this time was done by an earlier call, and says nothing about the speed


@dataclass
class _Stage:
    """A stage's lines so far, and since when its speed is measured."""

    since_s: float
    done_then: float
    lines: int = 0
    printed_s: float = 0.0
    text: str = ""

    def is_due(self, now_s: float, gaps_s: Sequence[float]) -> bool:
        return self.lines == 0 or now_s - self.printed_s >= gaps_s[min(self.lines, len(gaps_s)) - 1]

    def left_s(self, now_s: float, done: float, total: float) -> float | None:
        """Return the seconds left at the speed so far; None if that is not known yet."""
        if now_s - self.since_s < _AT_ONCE_S:
            self.since_s, self.done_then = now_s, done
        if done <= self.done_then:
            return None
        return (now_s - self.since_s) * (total - done) / (done - self.done_then)


class Lines:
    """Prints a line when a stage first reports, then ever more seldom, and always on news and at the stage's end.

    Args:
        print_line: Prints a line at once.
        gaps_s: Seconds between a stage's lines, in order; the last repeats.
        clock: Returns the time in seconds; only differences matter.
    """

    def __init__(self, print_line: Callable[[str], None], gaps_s: Sequence[float], clock: Callable[[], float]):
        self._print_line, self._gaps_s, self._clock = print_line, gaps_s, clock
        self._stages: dict[tuple[str, str], _Stage] = {}

    def show(self, run: str, stage: str, done: float, total: float, detail: str, *, news: bool = False) -> None:
        """Print a line if one is due; see `Display.show`."""
        now_s = self._clock()
        known = self._stages.setdefault((run, stage), _Stage(now_s, done))
        left_s = known.left_s(now_s, done, total)
        if not (news or done >= total or known.is_due(now_s, self._gaps_s)):
            return
        time_left = "" if left_s is None or done >= total else f", {_hours(left_s)} left"
        text = f"{run}{': ' if run else ''}{stage} {100 * done / total:.0f} %{time_left}: {detail}"
        if text == known.text:  # a stage may report its end twice
            return
        self._print_line(text)
        known.lines, known.printed_s, known.text = known.lines + 1, now_s, text

    def clear(self, *stages: str) -> None:
        """Keep everything: the stages of another run are other stages."""


def _hours(seconds: float) -> str:
    """Write a time as hours, minutes and seconds: 0:03:20."""
    return str(timedelta(seconds=round(seconds)))
