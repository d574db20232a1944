"""What a person may do in a session, as values that hypothesis draws."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from hypothesis import strategies as st

from sautomed.errors import UsageError

from .conftest import ORGANS, SHAPE

DEPTH, ROWS, COLUMNS = SHAPE


@dataclass(frozen=True)
class Operation:
    """A call of a session's method."""

    name: str
    slice: int = 0
    organ: str = "bright"
    box: tuple[int, int, int, int] = (0, 0, 1, 1)
    direction: str = "both"
    steps: int = 0

    def run(self, session):
        """Do it, as far as the session lets a person; returns whether it does."""
        try:
            self._run(session)
        except UsageError:  # the slice is locked, or two shapes do not overlap
            return False
        return True

    def _run(self, session):
        t, organ = self.slice, self.organ
        match self.name:
            case "undo" | "redo":
                getattr(session, self.name)()
            case "lock" | "release":
                getattr(session, self.name)(t)
            case "absent" | "forget":
                getattr(session, self.name)(t, organ)
            case "paint" | "erase":
                getattr(session, self.name)(t, organ, self.brush)
            case "fill":
                if painted := painted_slices(session, organ):
                    session.fill(painted[0], painted[-1], organ)
            case "give_box":
                session.give_box(t, organ, self.box)
            case "propagate":
                list(islice(session.propagate(t, self.direction), self.steps))

    @property
    def brush(self):
        return rectangle(*self.box)

    @property
    def touches(self):
        """The slice for which something is given, if this is such an operation."""
        return self.slice if self.name in ("give_box", "absent", "paint", "erase", "forget") else None


def painted_slices(session, organ):
    return [t for t in range(DEPTH) if session.prompts[t][organ].is_painted]


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[y0:y1, x0:x1] = True
    return mask


boxes = st.builds(
    lambda x, y, w, h: (x, y, min(x + w, COLUMNS), min(y + h, ROWS)),
    st.integers(0, COLUMNS - 2),
    st.integers(0, ROWS - 2),
    st.integers(1, 12),
    st.integers(1, 12),
)


def operations(*names):
    return st.builds(
        Operation,
        st.sampled_from(names),
        st.integers(0, DEPTH - 1),
        st.sampled_from(list(ORGANS.values())),
        boxes,
        st.sampled_from(["both", "up", "down"]),
        st.integers(1, 6),
    )


GIVING = ("give_box", "absent", "paint", "erase")
edits = operations(*GIVING, "fill", "propagate", "forget", "lock", "release")
anything = operations(*GIVING, "fill", "propagate", "propagate", "forget", "lock", "release", "undo", "redo")
sequences = st.lists(anything, max_size=8)
