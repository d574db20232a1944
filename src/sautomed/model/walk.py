"""The walk over a volume as an object: it steps, keeps the state before every slice, and resumes from any of them.

`segment`, validation, benchmarks and `VolumeWalk` drive it. To correct a volume, walk it once with memory for features,
replace the state before a slice, and resume there:

    walk = Walk(model, volume, WALKS["mid_to_ends"](volume.depth), chunk=8, memory_bytes=2**30)
    slices = list(walk)
    state = dataclasses.replace(walk.state(14), boxes=boxes, seen=Seen.of(present))  # (1 k 4) and (1 k)
    for part in walk.resume(14, state):  # slice 14, and outward from there
        ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor

from sautomed.model.feature_store import FeatureStore
from sautomed.model.given import GivenPrompts
from sautomed.model.values import (
    Features,
    PredictedSlice,
    SharedFeatures,
    SliceReader,
    SliceState,
    StepOutput,
)
from sautomed.model.walk_order import Step, neighbours


@runtime_checkable
class Walker(Protocol):
    """A model that goes from slice to slice (`SliceWalker`)."""

    computes_given_alike: bool

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Features: ...
    def share(self, before: Features, here: Features, after: Features) -> SharedFeatures: ...
    def start(self, batch: int) -> SliceState: ...
    def step(self, shared: SharedFeatures, state: SliceState, given: GivenPrompts | None = None) -> StepOutput: ...


@dataclass(frozen=True)
class SliceLook:
    """One slice as the walk predicts it, with the finest features behind it.

    Attributes:
        predicted: What the walk yields, or would yield with other prompts given.
        ungated: Logits before given prompts were enforced.
        features: The decoder's if it gives any, else the trunk's finest map, else z; in half precision, with length 1
            at every place, at their own resolution.
    """

    predicted: PredictedSlice
    ungated: Float[Tensor, "k1 h w"]
    features: Float[Tensor, "c _ _"]

    @property
    def nbytes(self) -> int:
        """Memory of all maps; without given prompts, gated and ungated logits are one."""
        return sum(m.nbytes for m in {id(m): m for m in (self.predicted.logits, self.ungated, self.features)}.values())


class Walk:
    """A model on its way through a volume. Iterate over it for the slices that are left.

    Args:
        model: Steps from slice to slice; in evaluation mode.
        volume: Slices as the model sees them.
        order: Steps of the walk, or the first of them.
        chunk: Slices that pass the trunk together.
        memory_bytes: Keep the state before every slice, and features of up to so many bytes beyond those that the next
            steps need. None keeps neither: memory does not grow with the volume, and there is no way back.
        start: State before the first step; by default that before any slice was seen.
        spill: Folder of a temporary file for features beyond `memory_bytes`; None: they are made again when needed.
    """

    def __init__(
        self,
        model: Walker,
        volume: SliceReader,
        order: Sequence[Step],
        chunk: int,
        memory_bytes: int | None = None,
        start: SliceState | None = None,
        spill: Path | None = None,
    ):
        self.model, self.depth, self.order = model, volume.depth, tuple(order)
        self.features = FeatureStore(model, volume, self.order, chunk, memory_bytes or 0, spill)
        self.end_state = self._start() if start is None else start
        self._remembers, self._done = memory_bytes is not None, 0
        self._states: dict[int, SliceState] = {}
        self._pending: dict[int, SliceState] = {}  # before visited slices that a resumption has still to reach
        self._given: dict[int, GivenPrompts] = {}
        self._newly_given: set[int] = set()  # slices that were not predicted with it yet
        self._ready: list[PredictedSlice] = []  # predicted, but not taken by an iteration yet
        self._digests: dict[int, bytes] = {}
        self._places = {t: (n, row) for n, step in enumerate(self.order) for row, t in enumerate(step.slices)}

    @property
    def upcoming(self) -> tuple[int, ...]:
        """Slices of the next step; empty at the end."""
        return self.order[self._done].slices if self._done < len(self.order) else ()

    @property
    def upcoming_state(self) -> SliceState:
        """State before the next step, one row for each of its slices."""
        return self.end_state.take(self.order[self._done].sources)

    def __iter__(self) -> Iterator[PredictedSlice]:
        while self._ready or self.upcoming:
            if not self._ready:
                self._ready = self.step()
            yield self._ready.pop(0)

    def step(self, state: SliceState | None = None) -> list[PredictedSlice]:
        """Predict the slices of the next step.

        Args:
            state: In place of `upcoming_state`.
        Raises:
            ValueError: All slices are visited.
        """
        if not self.upcoming:
            raise ValueError("the walk is at its end")
        slices, before = self.upcoming, self.upcoming_state if state is None else state
        _, out = self._predict(slices, before, self._given_for(slices))
        self.end_state = out.state
        self._done += 1
        self.features.release(self._done)
        return [self._record(t, row, before, out) for row, t in enumerate(slices)]

    def give(self, t: int, given: GivenPrompts) -> None:
        """Give prompts for slice t, in one row; its masks obey them from now on, however often it is predicted.

        A visited slice obeys with the next resumption: `walk.resume(t, walk.state(t))`.

        Args:
            given: In place of what was given for t before. Masks have one size for all slices of a walk.
        """
        self._given[t] = given
        self._newly_given.add(t)

    def state(self, t: int) -> SliceState:
        """Return the state before slice t, of one row.

        Raises:
            ValueError: The walk has not come to t, or keeps no states.
        """
        if t in self.upcoming:
            return self.upcoming_state.take([self.upcoming.index(t)])
        if t not in self._states:
            raise ValueError(f"no state before slice {t}: not visited yet, or the walk keeps no states (memory_bytes)")
        return self._pending.get(t, self._states[t]).take([0])  # a copy: writing into it must not change the walk

    def look_again(self, t: int, given: GivenPrompts | None = None) -> SliceLook:
        """Predict a visited slice from its own state once more, and leave the walk as it is.

        Every number is that of the walk, unless other prompts are given.

        Args:
            given: In place of what was given for t before.
        Raises:
            ValueError: The walk has not visited t, or keeps no states.
        """
        if t not in self._states:
            raise ValueError(f"no way back to slice {t}: not visited yet, or the walk keeps no states (memory_bytes)")
        number, row = self._places[t]
        slices = self.order[number].slices
        prompts = [self._given.get(t) if given is None else given] * len(slices)
        rows, before = self._repeated(slices, {row: self._states[t]})
        shared, out = self._predict(rows, before, prompts)
        self.features.release(self._done)
        logits = out.logits[row].clone()  # a view would hold the memory of the other rows
        ungated = logits if out.ungated is None else out.ungated[row].clone()
        finest = shared.z if not shared.fine else shared.fine[-1]
        features = nnf.normalize((finest if out.pixels is None else out.pixels)[row].float(), dim=0).half()
        return SliceLook(_predicted(t, row, logits, self._states[t], out), ungated, features)

    def resume(self, t: int, state: SliceState, tolerance: float = 0.0) -> Iterator[PredictedSlice]:
        """Predict slice t with another state, and the visited slices behind it as far as anything changes.

        A walker stops at a slice whose state is the earlier one; then all behind it stays as it was. The result is, bit
        for bit, that of a whole walk with the same state before t.

        An iteration may be broken off after any step (both walkers' slices of a step are predicted together). Slices
        behind stay as they were. Their new states wait, `state` returns them, and the next resumption that passes takes
        them along. An earlier edit of a slice behind t is kept only if this resumption stops before it.

        Args:
            t: A visited slice.
            state: Before slice t, of one row.
            tolerance: Behind t, two states that differ by no more count as one, in units of their numbers; history
                tokens seldom come back to the last bit.
        Yields:
            The slices that were visited again; `changed` says whether the classes did.
        Raises:
            ValueError: The walk has not visited t, or keeps no states; raised with the first slice.
        """
        if t not in self._states:
            raise ValueError(f"no way back to slice {t}: not visited yet, or the walk keeps no states (memory_bytes)")
        number, _ = self._places[t]
        self._pending[t] = state
        try:
            while number < self._done and any(self._places[n][0] >= number for n in self._pending):
                yield from self._step_again(number, t, tolerance)
                number += 1
        finally:
            self.features.release(self._done)

    def _step_again(self, number: int, edited: int, tolerance: float) -> list[PredictedSlice]:
        """Predict the rows of a visited step whose state differs; those behind them become pending."""
        slices = self.order[number].slices
        states = {row: self._pending.pop(t) for row, t in enumerate(slices) if t in self._pending}
        states = {
            row: state
            for row, state in states.items()
            if slices[row] in self._newly_given
            or state.differs(self._states[slices[row]], 0.0 if slices[row] == edited else tolerance)
        }
        if not states:
            return []
        rows, before = self._repeated(slices, states)
        _, out = self._predict(rows, before, self._given_for(rows))
        self.features.release(number + 1)
        if number + 1 == self._done:
            self._replace_end(states, out.state)
        else:
            following = self.order[number + 1]
            self._pending |= {
                t: out.state.take([source])
                for t, source in zip(following.slices, following.sources, strict=True)
                if source in states
            }
        return [self._record(slices[row], row, before, out) for row in states]

    def _repeated(self, slices: tuple[int, ...], states: dict[int, SliceState]) -> tuple[tuple[int, ...], SliceState]:
        """Return slices and states of some rows of a step, in a batch of the step's size.

        So every number is that of the whole step. Rows that are not asked for repeat one that is.
        """
        asked = next(iter(states))
        rows = [row if row in states else asked for row in range(len(slices))]
        return tuple(slices[row] for row in rows), SliceState.cat([states[row] for row in rows])

    def _given_for(self, slices: tuple[int, ...]) -> list[GivenPrompts | None]:
        """Return what is given for these slices, and note that they are predicted with it."""
        self._newly_given.difference_update(slices)
        return [self._given.get(t) for t in slices]

    @torch.inference_mode()
    def _start(self) -> SliceState:
        return self.model.start(1)

    @torch.inference_mode()
    def _predict(
        self, slices: tuple[int, ...], state: SliceState, given: list[GivenPrompts | None]
    ) -> tuple[SharedFeatures, StepOutput]:
        trios = [neighbours(t, self.depth) for t in slices]
        before, here, after = (self.features.of([trio[i] for trio in trios]) for i in range(3))
        shared = self.model.share(before, here, after)
        some = next((row for row in given if row is not None), None)
        if some is None:
            return shared, self.model.step(shared, state)
        return shared, self.model.step(shared, state, GivenPrompts.cat([row or some.without() for row in given]))

    def _record(self, t: int, row: int, before: SliceState, out: StepOutput) -> PredictedSlice:
        changed = True
        if self._remembers:
            self._states[t] = before.take([row])
            digest = blake2b(out.logits[row].argmax(0).to(torch.uint8).cpu().numpy().tobytes(), digest_size=16).digest()
            changed, self._digests[t] = self._digests.get(t) != digest, digest
        return _predicted(t, row, out.logits[row], before.take([row]), out, changed)

    def _replace_end(self, rows: dict[int, SliceState], state: SliceState) -> None:
        whole = [(state if row in rows else self.end_state).take([row]) for row in range(len(self.end_state.boxes))]
        self.end_state = SliceState.cat(whole)


def _predicted(
    t: int, row: int, logits: Float[Tensor, "k1 h w"], before: SliceState, out: StepOutput, changed: bool = True
) -> PredictedSlice:
    """Return the prediction in a row of a step, with the boxes of the state before it if they prompted it."""
    if out.boxes is None or out.presence is None:
        return PredictedSlice(t, logits, changed=changed)
    presence, found = out.presence[row].clone(), out.boxes[-1, row].clone()
    return PredictedSlice(t, logits, before.boxes[0], before.present[0], changed, presence, found)
