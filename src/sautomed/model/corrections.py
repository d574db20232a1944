"""A walk whose slices a person corrects; what is corrected travels to the slices around.

    walk = CorrectedWalk(Walk(model, volume, order, chunk=8, memory_bytes=2**30), prompts_of, memory_bytes=2**28)
    for part in walk: ...                                    # the automatic walk
    corrections = Corrections().give(14, 0, liver)           # obeyed on slice 14, by class 0
    for t in (15, 16): corrections = corrections.travel(14, [0], t)  # has come to slices 15 and 16, too
    logits = walk.slice(16, corrections).logits

A slice follows from the automatic walk and from the corrections, a frozen value: going back to an earlier value gives
the earlier slices, bit for bit. Each class's logits follow from the automatic walk and from what was corrected of this
class; so the others change only where it came or went.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor

from sautomed.model.affinity import add_residual, carry, unit_features
from sautomed.model.given import GivenKind, GivenPrompts, best_of_others, bounded, gate, gate_at_masks
from sautomed.model.values import PredictedSlice
from sautomed.model.walk import SliceLook, Walk

REACH = 8  # slices that a correction travels to either side

Resample = Callable[[Float[Tensor, "1 c _ _"]], Float[Tensor, "1 c _ _"]]


@dataclass(frozen=True)
class Correction:
    """What is given for class k of slice t, as a value that `prompts_of` makes prompts of; k = 0 is the first organ."""

    t: int
    k: int
    given: Hashable


PromptsOf = Callable[[Correction], GivenPrompts]


@dataclass(frozen=True)
class Travelling:
    """A correction and the other slices that it has come to."""

    correction: Correction
    slices: frozenset[int]


@dataclass(frozen=True)
class Corrections:
    """All corrections in force, as a frozen value; the methods return others.

    Attributes:
        given: What each slice obeys, by slice and class.
        travelling: What has come to other slices, the latest last. It stays what it was when something else is given
            for its slice, until that travels as well.
    """

    given: Mapping[tuple[int, int], Correction] = field(default_factory=dict)
    travelling: tuple[Travelling, ...] = ()

    def give(self, t: int, k: int, given: Hashable) -> Corrections:
        """Give something for class k of slice t, in place of what was given for it before."""
        return replace(self, given={**self.given, (t, k): Correction(t, k, given)})

    def forget(self, t: int, k: int) -> Corrections:
        """Take back what is given for class k of slice t, wherever it has come to."""
        kept = tuple(found for found in self.travelling if (found.correction.t, found.correction.k) != (t, k))
        return Corrections({place: given for place, given in self.given.items() if place != (t, k)}, kept)

    def travel(self, t: int, classes: Iterable[int], to: int) -> Corrections:
        """Let what is given for some classes of slice t come to another slice."""
        travelling = self.travelling
        for k in classes:
            found = next((old for old in travelling if old.correction == self.given[t, k]), None)
            slices = frozenset({to}) if found is None else found.slices | {to}
            travelling = (*(old for old in travelling if old is not found), Travelling(self.given[t, k], slices))
        return replace(self, travelling=travelling)

    def at(self, t: int) -> dict[int, Correction]:
        """Return what is given for slice t, by class."""
        return {k: found for (slice_, k), found in self.given.items() if slice_ == t}

    def arriving(self, t: int) -> dict[int, tuple[tuple[Correction, float], ...]]:
        """Return what has come to slice t, by class: the nearest correction of each side, with its weight.

        Of two of one slice the later one counts; nothing comes for a class that is given on the slice itself.
        """
        found: dict[int, dict[int, Correction]] = {}
        for travelling in self.travelling:
            correction = travelling.correction
            if t in travelling.slices and (t, correction.k) not in self.given:
                found.setdefault(correction.k, {})[correction.t] = correction
        return {k: _nearest(t, sources) for k, sources in sorted(found.items())}

    def inputs(self, t: int) -> Hashable:
        """Return all that slice t follows from: with equal inputs it is equal, bit for bit."""
        return tuple(sorted(self.at(t).items(), key=lambda item: item[0])), tuple(self.arriving(t).items())


def _nearest(t: int, sources: Mapping[int, Correction]) -> tuple[tuple[Correction, float], ...]:
    sides = (max((s for s in sources if s < t), default=None), min((s for s in sources if s > t), default=None))
    nearness = {s: 1 / abs(s - t) for s in sides if s is not None}
    return tuple((sources[s], weight / sum(nearness.values())) for s, weight in nearness.items())


@dataclass(frozen=True)
class CorrectedSlice:
    """A slice with its corrections, before they are joined at one resolution.

    Attributes:
        automatic: What the walk yields.
        arrived: Logits of the classes that a correction has come for, by class.
        leads: By class, how far each given class leads the best other one of the automatic slice.
        given: What is given, if more than one class was corrected: each was so beside the automatic others.
    """

    automatic: PredictedSlice
    arrived: Mapping[int, Float[Tensor, "h w"]]
    leads: Mapping[int, Float[Tensor, "_ _"]]
    given: GivenPrompts | None

    @property
    def logits(self) -> Float[Tensor, "k1 _ _"]:
        """Return the logits at the resolution of the given masks, if that is the finer one."""
        if not (self.arrived or self.leads):
            return self.automatic.logits
        shapes = [tuple(m.shape[-2:]) for m in (self.automatic.logits, *self.leads.values())]
        size = max(shapes)
        logits = self.resampled(
            lambda maps: (
                maps
                if tuple(maps.shape[-2:]) == size
                else nnf.interpolate(maps, size, mode="bilinear", align_corners=False)
            )
        )
        return logits if self.given is None else bounded(logits[None], self.given)[0]

    def resampled(self, resample: Resample) -> Float[Tensor, "k1 _ _"]:
        """Return the logits on another grid; classes of which nothing was corrected keep every bit of the automatic.

        What is given is kept by the caller, where several classes were corrected.
        """
        automatic = resample(self.automatic.logits[None].float())[0]
        logits = automatic.clone()
        for k, channel in self.arrived.items():
            logits[k + 1] = resample(channel[None, None].float())[0, 0]
        if self.leads:
            rivals = best_of_others(automatic[None])[0]
            for k, lead in self.leads.items():
                logits[k + 1] = rivals[k] + resample(lead[None, None].float())[0, 0]
        return logits


@dataclass(frozen=True)
class _Effect:
    """What a correction does.

    Attributes:
        lead: Of its class on its slice.
        residual: On slice t: 1 where the correction added the class, -1 where it took it, on other slices something
            between. Begins with the corrected slice and grows outward as it is asked for. What a box added is left
            out: a box is sure only of what lies outside of it.
    """

    lead: Float[Tensor, "_ _"]
    residual: dict[int, Float[Tensor, "1 h w"]]

    @property
    def nbytes(self) -> int:
        return self.lead.nbytes + sum(m.nbytes for m in self.residual.values())


class CorrectedWalk:
    """A walk and the corrections of its slices. Iterate over it for the automatic walk.

    What is given for a class of a slice is obeyed there. What it changed there, the residual, may travel up to `REACH`
    slices in both directions, to the middle of the walk too. Between two corrections both residuals count, the nearer
    one more.

    A slice that is corrected, or that a correction comes to, is predicted once more for its features; the trunk is not
    needed again while the walk keeps its own. Logits, features and residuals are kept up to `memory_bytes`, those that
    were used least recently go first, slices before corrections: 0.3 MB a slice with tiny's 64 x 64 logits, 8 MB with
    SAM's 256 x 256 and 13 organs. The walk itself stays as it is.

    Args:
        walk: One that keeps states and features (`memory_bytes` of its own), of any system that goes slice by slice.
        prompts_of: Returns a correction as prompts of its class, in one row.
        memory_bytes: For the slices near corrections.
    """

    def __init__(self, walk: Walk, prompts_of: PromptsOf, memory_bytes: int):
        self.walk, self.prompts_of, self.memory_bytes = walk, prompts_of, memory_bytes
        self._looks: dict[int, SliceLook] = {}  # the most recently used last
        self._effects: dict[Correction, _Effect] = {}  # likewise

    @property
    def nbytes(self) -> int:
        """Memory of logits, features and residuals that are kept."""
        looks, effects = self._looks.values(), self._effects.values()
        return sum(look.nbytes for look in looks) + sum(effect.nbytes for effect in effects)

    def __iter__(self) -> Iterator[PredictedSlice]:
        return iter(self.walk)

    @torch.inference_mode()
    def slice(self, t: int, corrections: Corrections) -> CorrectedSlice:
        """Return slice t with these corrections.

        Raises:
            ValueError: The walk has not visited t, or keeps no states.
        """
        automatic = self._look(t).predicted
        leads = {k: self._effect(correction).lead for k, correction in corrections.at(t).items()}
        arrived = self._arrived(t, corrections)
        given = None
        if leads and len(leads) + len(arrived) > 1:
            given = GivenPrompts.joined({k: self.prompts_of(found) for k, found in corrections.at(t).items()})
        self._forget_oldest()
        return CorrectedSlice(automatic, arrived, leads, given)

    @torch.inference_mode()
    def travels(self, correction: Correction, to: int) -> bool:
        """Return whether anything of a correction comes as far as another slice."""
        found = abs(to - correction.t) <= REACH and bool(self._carried(correction, to).any())
        self._forget_oldest()
        return found

    def _arrived(self, t: int, corrections: Corrections) -> dict[int, Float[Tensor, "h w"]]:
        """Return the logits of the classes for which something has come to slice t."""
        logits, arrived = self._look(t).predicted.logits, {}
        for k, sources in corrections.arriving(t).items():
            residual = torch.cat([weight * self._carried(source, t) for source, weight in sources]).sum(0)
            arrived[k] = add_residual(logits, k, residual)
        return arrived

    def _carried(self, correction: Correction, t: int) -> Float[Tensor, "1 h w"]:
        """Return the residual of a correction on slice t, carried there slice by slice."""
        residual, way = self._effect(correction).residual, 1 if t > correction.t else -1
        for u in range(correction.t + way, t + way, way):
            if u not in residual:
                before = residual[u - way]
                residual[u] = carry(before, self._features(u - way), self._features(u)) if before.any() else before
        return residual[t]

    def _effect(self, correction: Correction) -> _Effect:
        effect = self._effects.pop(correction, None) or self._new_effect(correction)
        self._effects[correction] = effect
        self._forget_oldest()
        return effect

    def _new_effect(self, correction: Correction) -> _Effect:
        t, k, given = correction.t, correction.k, self.prompts_of(correction)
        boxed = given.kinds[0, k] == GivenKind.HERE
        ungated = self.walk.look_again(t, given).ungated[None]
        before = self._unprompted(t, given) if boxed else self._look(t).predicted.logits
        after = gate(ungated, given)[0]
        residual = ((after.argmax(0) == k + 1).float() - (before.argmax(0) == k + 1).float())[None]
        if boxed:
            residual = residual.clamp(max=0)
        gated = gate_at_masks(ungated, given)
        return _Effect((gated[0, k + 1] - best_of_others(gated)[0, k]).clone(), {t: residual})

    def _unprompted(self, t: int, given: GivenPrompts) -> Float[Tensor, "k1 h w"]:
        """Return the logits of slice t as they are computed with prompts, but with nothing given.

        In a box the outline is the network's: compared with that of another engine, rounding would be a correction.
        """
        if self.walk.model.computes_given_alike:
            return self._look(t).predicted.logits
        return self.walk.look_again(t, given.without()).ungated

    def _features(self, t: int) -> Float[Tensor, "c h w"]:
        look = self._look(t)
        return unit_features(look.features, tuple(look.ungated.shape[1:]))

    def _look(self, t: int) -> SliceLook:
        """Return the automatic prediction of a slice and its features."""
        look = self._looks.pop(t, None) or self.walk.look_again(t)
        self._looks[t] = look
        self._forget_oldest()
        return look

    def _forget_oldest(self) -> None:
        """Drop what was used least recently as far as memory asks for it, slices before corrections."""
        while self.nbytes > self.memory_bytes and len(self._looks) > 1:
            del self._looks[next(iter(self._looks))]
        while self.nbytes > self.memory_bytes and len(self._effects) > 1:
            del self._effects[next(iter(self._effects))]
