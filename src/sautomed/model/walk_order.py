"""The order in which a volume's slices are visited.

A walk is a list of steps; the slices of one step are independent of each other and form one batch.
"""

from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True)
class Step:
    """Slices visited together; `sources` are the rows of the previous step's batch that they continue."""

    slices: tuple[int, ...]
    sources: tuple[int, ...]


def mid_to_ends(depth: int) -> list[Step]:
    """Go from the middle slice to both ends at once: two walkers in a batch of two (Liang et al. 2024, section 2.1).

    Both walkers start from the middle slice's state. With an even number of slices the middle is the upper of the two.
    """
    middle = depth // 2
    steps = [Step((middle,), (0,))]
    previous = (0, 0)  # both walkers continue the one row of the first step
    for up, down in zip_longest(range(middle + 1, depth), range(middle - 1, -1, -1)):
        pairs = [(t, source) for t, source in ((up, previous[0]), (down, previous[1])) if t is not None]
        steps.append(Step(tuple(t for t, _ in pairs), tuple(source for _, source in pairs)))
        # from now on the upward walker is row 0 and the downward one the last row
        previous = (0, len(pairs) - 1)
    return steps


def end_to_end(depth: int) -> list[Step]:
    """Go from the top slice to the bottom slice (Table 4). Indices grow towards the head, so it begins at the last."""
    return [Step((t,), (0,)) for t in range(depth - 1, -1, -1)]


WALKS = {"mid_to_ends": mid_to_ends, "end_to_end": end_to_end}


def neighbours(t: int, depth: int) -> tuple[int, int, int]:
    """Return slice t between its neighbours; at the ends the edge slice replaces the missing one."""
    return max(t - 1, 0), t, min(t + 1, depth - 1)
