"""Training rows in which a prompt contradicts the image, so that a network learns to obey its prompts.

The target of a training row is a function of its image, and its state comes from the network's own masks, so nothing
teaches a network to listen. In these rows, for some classes, half of an organ or all of it is taken out of the target
for the whole run, and a prompt on the first slice, or the state before it, tells so; later slices know it from their
state alone. In others a prompt is true and the state before it wrong. Ours; `train.prompt_rows` says how many.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
import torch.nn.functional as nnf
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sautomed.model.across_ranks import on_any_rank, own_rows
from sautomed.model.boxes import boxes_of_masks, jitter
from sautomed.model.given import GivenKind, GivenPrompts
from sautomed.model.values import Examples, Seen, SliceState

KNOWN = 0.6  # share of rows whose previous slice is known, from its true labels
PLAIN = 0.25  # share of rows in which nothing is given or corrected
SMALL = 0.01  # share of the slice; smaller organs get their true box in half of the other rows


class Row(IntEnum):
    """What happens to a class in a row."""

    PLAIN = 0
    CUT_GIVEN = 1  # a box on the first slice holds one side of the organ
    CUT_BEFORE = 2  # the other side was removed on the slice before
    GONE_GIVEN = 3  # "not here" on the first slice
    GONE_BEFORE = 4  # it was removed on the slice before
    TRUE_BOX = 5  # the true box, or "not here" where that is true
    TRUE_MASK = 6  # likewise, painted
    MENDED_BEFORE = 7  # the mask of the slice before was wrong and is mended


# how often, of the rows that are not plain
SHARES = {Row.CUT_GIVEN: 0.22, Row.CUT_BEFORE: 0.08, Row.GONE_GIVEN: 0.10, Row.GONE_BEFORE: 0.03, Row.TRUE_BOX: 0.16,
          Row.TRUE_MASK: 0.06, Row.MENDED_BEFORE: 0.10}  # fmt: skip


@dataclass(frozen=True)
class PromptedRuns:
    """What a batch of runs starts from, is given and should become.

    Attributes:
        state: Before the first slice.
        given: For the first slice.
        labels: The targets.
    """

    state: SliceState
    given: GivenPrompts | None
    labels: Int[Tensor, "b n h w"]


def prompted_runs(
    examples: Examples, start: SliceState, share: float, box_jitter: float, generator: torch.Generator
) -> PromptedRuns:
    """Draw what happens to each class of each row.

    Args:
        start: The state of a cold start, a row per example.
        share: Of the rows in which anything happens, or the previous slice is known; the others begin cold.
        box_jitter: Of the side of boxes that are given or known.
    """
    draw = _Draw(generator, start.boxes.device)
    classes = start.boxes.shape[1]
    here, before = (_masks(x, classes) for x in (examples.labels[:, 0], examples.before))
    known = (draw.uniform(len(here)) < KNOWN * share)[:, None].expand(-1, classes)
    rows = _rows(here, before, known, share, draw)
    kept = _kept_side(torch.where(_is(rows, Row.CUT_BEFORE)[..., None, None], before, here), rows, draw)
    return PromptedRuns(
        _state(start, before, kept, rows, known, box_jitter, draw),
        _given(here, kept, rows, box_jitter, generator),
        _without_removed(examples.labels, kept),
    )


class _Draw:
    """Random numbers of one generator, on one device: for each row, or, where it is named so, one for all rows."""

    def __init__(self, generator: torch.Generator, device: torch.device):
        self.generator, self.device = generator, device

    def uniform(self, rows: int, *shape: int) -> Tensor:
        return own_rows(lambda n: torch.rand(n, *shape, generator=self.generator), rows).to(self.device)

    def integers(self, below: int, rows: int, *shape: int) -> Tensor:
        drawn = own_rows(lambda n: torch.randint(below, (n, *shape), generator=self.generator), rows)
        return drawn.to(self.device)

    def uniform_of_batch(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator).to(self.device)


def _masks(labels: Int[Tensor, "b h w"], classes: int) -> Bool[Tensor, "b k h w"]:
    return labels[:, None] == torch.arange(1, classes + 1, device=labels.device)[:, None, None]


def _is(rows: Int[Tensor, "b k"], *kinds: Row) -> Bool[Tensor, "b k"]:
    return torch.isin(rows, torch.tensor(kinds, device=rows.device))


def _rows(here: Tensor, before: Tensor, known: Tensor, share: float, draw: _Draw) -> Int[Tensor, "b k"]:
    """Draw the kind of each class and row; kinds that are impossible become plain."""
    b, k = known.shape
    steps = torch.tensor(list(SHARES.values())).cumsum(0).to(known.device)
    kinds = torch.tensor([*SHARES, Row.PLAIN], device=known.device)
    rows = kinds[torch.bucketize(draw.uniform(b, k), steps)]
    present, was_present = here.flatten(2).any(-1), before.flatten(2).any(-1)
    needs_before = _is(rows, Row.CUT_BEFORE, Row.GONE_BEFORE, Row.MENDED_BEFORE)
    impossible = (needs_before & ~(known & was_present)) | (_is(rows, Row.CUT_GIVEN) & ~present)
    rows = torch.where(impossible, int(Row.PLAIN), rows)
    small = present & (here.float().flatten(2).mean(-1) < SMALL) & (rows == Row.PLAIN)
    rows = torch.where(small & (draw.uniform(b, k) < 0.5), int(Row.TRUE_BOX), rows)
    return torch.where((draw.uniform(b) < 1 - share * (1 - PLAIN))[:, None], int(Row.PLAIN), rows)


def _kept_side(shown: Bool[Tensor, "b k h w"], rows: Tensor, draw: _Draw) -> Bool[Tensor, "b k h w"]:
    """Return the places where a class may be: one side of a line through it, nowhere, or all of the slice."""
    b, k, h, w = shown.shape
    boxes, _ = boxes_of_masks(shown)
    low, high = boxes[..., :2], boxes[..., 2:]
    x, y = (low + (0.25 + 0.5 * draw.uniform(b, k, 2)) * (high - low)).unbind(-1)
    right = ((torch.arange(w, device=shown.device) + 0.5) / w > x[..., None])[:, :, None].expand_as(shown)
    below = ((torch.arange(h, device=shown.device) + 0.5) / h > y[..., None])[..., None].expand_as(shown)
    half = torch.where((draw.integers(2, b, k) == 0)[..., None, None], right, below)
    half = half ^ (draw.integers(2, b, k) == 0)[..., None, None]
    cut = _is(rows, Row.CUT_GIVEN, Row.CUT_BEFORE)[..., None, None]
    gone = _is(rows, Row.GONE_GIVEN, Row.GONE_BEFORE)[..., None, None]
    return (~cut | half) & ~gone


def _without_removed(labels: Int[Tensor, "b n h w"], kept: Bool[Tensor, "b k h w"]) -> Int[Tensor, "b n h w"]:
    """Take out of all slices what is removed of each class."""
    everywhere = torch.cat([torch.ones_like(kept[:, :1]), kept], 1)
    return labels * everywhere.gather(1, labels)


def _given(
    here: Tensor, kept: Tensor, rows: Tensor, box_jitter: float, generator: torch.Generator
) -> GivenPrompts | None:
    """Return what is given for the first slice; None if nothing is in the whole batch."""
    boxes, present = boxes_of_masks(here & kept)
    boxed, painted = _is(rows, Row.CUT_GIVEN, Row.TRUE_BOX), _is(rows, Row.TRUE_MASK)
    given = boxed | painted | _is(rows, Row.GONE_GIVEN)
    if not on_any_rank(given):
        return None
    kinds = torch.full_like(rows, int(GivenKind.NOTHING))
    kinds = torch.where(given, int(GivenKind.NOT_HERE), kinds)
    kinds = torch.where(boxed & present, int(GivenKind.HERE), kinds)
    kinds = torch.where(painted & present, int(GivenKind.MASK), kinds)
    with_box, masked = (boxed | painted) & present, painted & present
    boxes = torch.where(boxed[..., None], jitter(boxes, box_jitter, generator), boxes)
    return GivenPrompts(kinds, boxes * with_box[..., None], here & masked[..., None, None])


def _state(
    start: SliceState, before: Tensor, kept: Tensor, rows: Tensor, known: Tensor, box_jitter: float, draw: _Draw
) -> SliceState:
    """Return the state before the first slice: its history is that of a cold start, all else as if just walked."""
    true = before.float()
    wrong = _damaged(true, draw)
    contradicted = _is(rows, Row.TRUE_BOX, Row.TRUE_MASK) & (draw.uniform(*rows.shape) < 0.4)
    mended = _is(rows, Row.MENDED_BEFORE)[..., None, None]
    # where the first slice is given something, the mask before still shows all of the organ: the prompt contradicts it
    left = kept | ~_is(rows, Row.CUT_BEFORE, Row.GONE_BEFORE)[..., None, None]
    masks = torch.where(mended, true, wrong) * left * ~contradicted[..., None, None] * known[..., None, None]
    carried = torch.where(mended, true - wrong, 0.0) - true * ~left
    boxes, present = boxes_of_masks(masks > 0.5)
    seen = torch.where(known, Seen.of(present), int(Seen.UNKNOWN))
    boxes = jitter(boxes, box_jitter, draw.generator) * present[..., None]
    return replace(start, boxes=boxes, seen=seen, masks=masks, carried=carried * known[..., None, None])


def _damaged(masks: Float[Tensor, "b k h w"], draw: _Draw) -> Float[Tensor, "b k h w"]:
    """Make masks as a network might: too large, too small, moved, or right, with soft edges."""
    reach = max(masks.shape[-2] // 64, 1)
    size = 2 * reach + 1
    larger = nnf.max_pool2d(masks, size, stride=1, padding=reach)
    smaller = -nnf.max_pool2d(-masks, size, stride=1, padding=reach)
    shift = [int(x) for x in (2 * draw.uniform_of_batch(2) - 1) * 2.5 * reach]
    moved = masks.roll(shift, (-2, -1))
    choice = draw.integers(5, *masks.shape[:2])[..., None, None]
    out = torch.where(choice == 0, larger, masks)
    out = torch.where(choice == 1, smaller, out)
    out = torch.where(choice == 2, moved, out)
    return nnf.avg_pool2d(out, 3, stride=1, padding=1)
