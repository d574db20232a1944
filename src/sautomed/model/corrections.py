"""A walk whose slices a person corrects; what is corrected travels to the slices around.

    walk = CorrectedWalk(Walk(model, volume, order, chunk=8, memory_bytes=2**30), memory_bytes=2**28)
    slices = {part.index: part for part in walk}  # the automatic walk
    walk.give(14, GivenPrompts.nothing(4, (256, 256)).mask(0, liver))
    slices |= {part.index: part for part in walk.changes()}  # slice 14 first, and outward from there

What is shown follows from the automatic walk and from all that is given, whatever the order in which it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from jaxtyping import Float
from torch import Tensor

from sautomed.model.affinity import add_residual, carry, unit_features
from sautomed.model.given import GivenKind, GivenPrompts, gate, gate_at_masks
from sautomed.model.values import PredictedSlice
from sautomed.model.walk import SliceLook, Walk

REACH = 8  # slices that a correction travels to either side


@dataclass(frozen=True)
class _Correction:
    """What is given for a slice.

    Attributes:
        given: For some classes.
        classes: These classes; 0 is the first organ.
        ungated: Logits of the slice, predicted with it.
        residual: Of these classes on slice t: 1 where the correction added a class, -1 where it took it, on other
            slices something between. Begins with the corrected slice and grows outward as it is asked for. What a box
            added is left out: a box is sure only of what lies outside of it.
    """

    given: GivenPrompts
    classes: tuple[int, ...]
    ungated: Float[Tensor, "k1 h w"]
    residual: dict[int, Float[Tensor, "n h w"]]


class CorrectedWalk:
    """A walk and the corrections of its slices. Iterate over it for the automatic walk.

    What is given for a class of a slice is obeyed there. What it changed there, the residual, travels up to `REACH`
    slices in both directions, to the middle of the walk too, and for each class as far as the next slice for which
    something is given for that class. Between two of them both residuals count, the nearer one more.

    A slice that a correction reaches is predicted once more for its features. Its logits and features are kept up to
    `memory_bytes`, the least recently used go first: 0.3 MB a slice with tiny's 64 x 64 logits, 8 MB with SAM's 256 x
    256 and 13 organs. A correction itself keeps its residuals, up to 2 `REACH` + 1 maps for each class that is given.
    Of all other slices there is the walk's state alone. The walk itself stays as it is.

    Args:
        walk: One that keeps states and features (`memory_bytes` of its own), of any system that goes slice by slice.
        memory_bytes: For the slices near corrections.
    """

    def __init__(self, walk: Walk, memory_bytes: int):
        self.walk, self.memory_bytes = walk, memory_bytes
        self._corrections: dict[int, _Correction] = {}
        self._looks: dict[int, SliceLook] = {}  # the most recently used last
        self._stale: list[int] = []  # slices that may have changed, the nearest to the last correction first
        self._shown: dict[int, tuple[bytes, bytes]] = {}  # logits and classes of the slices that are not automatic

    @property
    def nbytes(self) -> int:
        """Memory of the logits and features that are kept."""
        return sum(look.nbytes for look in self._looks.values())

    def __iter__(self) -> Iterator[PredictedSlice]:
        return iter(self.walk)

    @torch.inference_mode()
    def give(self, t: int, given: GivenPrompts) -> None:
        """Give prompts for slice t, in one row; `changes` then yields what they change.

        Args:
            given: In place of what was given for t before; nothing for any class takes it back.
        Raises:
            ValueError: The walk is not at its end, or keeps no states, or there is no slice t.
        """
        if self.walk.upcoming:
            raise ValueError("the walk is not at its end: walk the whole volume before you correct it")
        if (given.kinds == GivenKind.NOTHING).all():
            self._corrections.pop(t, None)
        else:
            self._corrections[t] = self._correction(t, given)
        around = (t + way * distance for distance in range(REACH + 1) for way in (1, -1))
        reached = [u for u in around if 0 <= u < self.walk.depth]
        self._stale = list(dict.fromkeys(reached + self._stale))

    def changes(self) -> Iterator[PredictedSlice]:
        """Yield the slices that corrections have changed since they were last yielded, the corrected one first.

        Logits of a corrected slice are at the resolution of the given masks, if that is the finer one. An iteration may
        be broken off; the next one yields the rest.
        """
        while self._stale:
            part = self._changed(self._stale[0])
            del self._stale[0]
            if part is not None:
                yield part

    @torch.inference_mode()
    def _changed(self, t: int) -> PredictedSlice | None:
        """Return slice t as it is now, or None if it was yielded like that before."""
        correction, arriving = self._corrections.get(t), self._arriving(t)
        if correction is None and arriving is None and t not in self._shown:
            return None
        automatic = self._look(t).predicted
        logits = automatic.logits if correction is None else correction.ungated
        if arriving is not None:
            logits = add_residual(logits, arriving)
        if correction is not None:
            logits = gate_at_masks(logits[None], correction.given)[0]
        before = self._shown.pop(t, None) or _digests(automatic.logits)
        now = _digests(logits)
        if correction is not None or arriving is not None:
            self._shown[t] = now
        return None if now == before else replace(automatic, logits=logits, changed=now[1] != before[1])

    def _correction(self, t: int, given: GivenPrompts) -> _Correction:
        ungated = self.walk.look_again(t, given).ungated
        classes = tuple(torch.nonzero(given.kinds[0] != GivenKind.NOTHING)[:, 0].tolist())
        before, after = self._look(t).predicted.logits.argmax(0), gate(ungated[None], given)[0].argmax(0)
        residual = torch.stack([(after == k + 1).float() - (before == k + 1).float() for k in classes])
        boxed = given.kinds[0, list(classes)] == GivenKind.HERE
        residual = torch.where(boxed[:, None, None], residual.clamp(max=0), residual)
        return _Correction(given, classes, ungated, {t: residual})

    def _arriving(self, t: int) -> Float[Tensor, "k h w"] | None:
        """Return the residual that reaches slice t from the nearest corrections of each class; None if none does."""
        total = None
        for k in sorted({k for correction in self._corrections.values() for k in correction.classes}):
            for source, weight in self._sources(t, k):
                correction = self._corrections[source]
                if total is None:
                    total = torch.zeros_like(correction.ungated[1:])
                total[k] += weight * self._carried(source, t)[correction.classes.index(k)]
        return total if total is not None and total.any() else None

    def _sources(self, t: int, k: int) -> list[tuple[int, float]]:
        """Return the corrections of class k that reach slice t, at most one from each side, and their weights."""
        near = [s for s, found in self._corrections.items() if k in found.classes and abs(s - t) <= REACH]
        if t in near:
            return []
        sides = (max((s for s in near if s < t), default=None), min((s for s in near if s > t), default=None))
        nearness = {s: 1 / abs(s - t) for s in sides if s is not None}
        return [(s, weight / sum(nearness.values())) for s, weight in nearness.items()]

    def _carried(self, source: int, t: int) -> Float[Tensor, "n h w"]:
        """Return the residual of a correction on slice t, carried there slice by slice."""
        residual, way = self._corrections[source].residual, 1 if t > source else -1
        for u in range(source + way, t + way, way):
            if u not in residual:
                before = residual[u - way]
                residual[u] = carry(before, self._features(u - way), self._features(u)) if before.any() else before
        return residual[t]

    def _features(self, t: int) -> Float[Tensor, "c h w"]:
        look = self._look(t)
        return unit_features(look.features, tuple(look.ungated.shape[1:]))

    def _look(self, t: int) -> SliceLook:
        """Return the automatic prediction of a slice and its features."""
        look = self._looks.pop(t, None) or self.walk.look_again(t)
        self._looks[t] = look
        while self.nbytes > self.memory_bytes and len(self._looks) > 1:
            del self._looks[next(iter(self._looks))]
        return look


def _digests(logits: Float[Tensor, "k1 h w"]) -> tuple[bytes, bytes]:
    """Return what tells these logits, and their classes, from others."""
    maps = (logits.float(), logits.argmax(0).to(torch.uint8))
    logits_digest, classes_digest = (blake2b(m.cpu().numpy().tobytes(), digest_size=16).digest() for m in maps)
    return logits_digest, classes_digest
