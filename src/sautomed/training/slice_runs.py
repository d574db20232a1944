"""Training examples: runs of 1 + n consecutive slices, with the neighbours of the first and the last.

Every example follows from the seed, its number and the progress of the training alone, so a resumed training sees the
same examples as one that was not interrupted, and several ranks see together what one with a larger batch does.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from sautomed.config import TrainSettings
from sautomed.inference.resize import channel_slices
from sautomed.training.augment import make_augment
from sautomed.training.prepare import PreparedCase


class SliceRun(NamedTuple):
    """Consecutive slices in walk order.

    Attributes:
        images: In [0, 1]; one more at each end, the neighbours of the first and the last, except for single slices at
            the beginning of a training, which come alone.
        labels: Of the inner slices; the last is the target.
        upward: Whether the walk goes towards higher indices; else the anatomical order is the reverse.
        before: Labels of the slice before the first of `labels`.
        cases: Ids.
    """

    images: Float[Tensor, "b m 3 h w"]
    labels: Int[Tensor, "b n h w"]
    upward: Tensor
    before: Int[Tensor, "b h w"]
    cases: tuple[str, ...] = ()


Example = tuple[Tensor, Tensor, bool, Tensor, str]  # images, labels, upward, before, case


class SliceRunDataset(TorchDataset):
    """Endless stream of items that a seed defines, each of one example or several.

    A step has `settings.batch` of them, on all ranks together.

    Where training begins with single slices (`settings.singles`), an item holds as many runs as have about the slices
    of the longest, so that a step shows about as many slices at each stage.

    Args:
        stack: (slices, overhang) of a model that takes so many slices in anatomical order, at most so many of them past
            an end of the volume; None for walkers, which get a target and its history, of one length in a batch.
        progress: From the number of a step to the share of the training that is done before it.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        settings: TrainSettings,
        channels: str,
        seed: int,
        stack: tuple[int, int] | None = None,
        progress: Callable[[int], float] = lambda _: 1.0,
    ):
        self.cases, self.settings, self.channels, self.seed, self.stack = cases, settings, channels, seed, stack
        self.augment = make_augment(settings.augment)
        self.progress = progress
        self._longest = (-1, 0)  # step, and the n that its runs may have at most

    def __getitem__(self, number: int) -> list[Example]:
        rng = np.random.default_rng([self.seed, 1, number])
        if self.stack is not None:
            return [self._stack(rng, *self.stack)]
        step = number // self.settings.batch
        longest = self._longest_history(step)
        history = history_length(self.settings, self.seed, step, longest)
        examples = (1 + self.settings.max_history) // (1 + history) if self.settings.singles else 1
        return [self._run(rng, history, alone=longest == 0) for _ in range(examples)]

    def _longest_history(self, step: int) -> int:
        """Return the most history slices of a step's runs. Time goes on while a batch is read, so it is asked once."""
        if self._longest[0] != step:
            self._longest = (step, longest_history(self.settings, self.progress(step)))
        return self._longest[1]

    def _run(self, rng: np.random.Generator, history: int, alone: bool) -> Example:
        case, target = self._draw(rng)
        upward = bool(rng.random() < 0.5)
        direction = 1 if upward else -1
        run = [target + direction * shift for shift in range(-history - 1, 1)]  # with the slice before it
        images, labels = self._load(case, [target] if alone else [*run, target + direction], run, rng)
        return images, labels[1:], upward, labels[0], case.id

    def _stack(self, rng: np.random.Generator, slices: int, overhang: int) -> Example:
        case, target = self._draw(rng)
        first = _stack_start(target, len(case.presence), slices, overhang, rng)
        run = list(range(first - 1, first + slices))
        images, labels = self._load(case, [*run, first + slices], run, rng)
        return images, labels[1:], True, labels[0], case.id

    def _draw(self, rng: np.random.Generator) -> tuple[PreparedCase, int]:
        case = self.cases[int(rng.integers(len(self.cases)))]
        return case, _target(case.presence, rng, self.settings.balanced)

    def _load(
        self, case: PreparedCase, seen: list[int], labelled: list[int], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Load images and labels of slices; those past either end repeat the edge. Channels may reach one further."""
        depth = len(case.images)
        seen, labelled = ([min(max(t, 0), depth - 1) for t in rows] for rows in (seen, labelled))
        low, high = max(min(*seen, *labelled) - 1, 0), min(max(*seen, *labelled) + 1, depth - 1)
        images = torch.from_numpy(case.images[low : high + 1].astype(np.float32))
        labels = torch.from_numpy(np.array(case.labels[low : high + 1]))
        images, labels = self.augment(images, labels, rng)
        index = torch.tensor([channel_slices(t, depth, self.channels) for t in seen]) - low
        return images[index], labels[[t - low for t in labelled]].long()


def longest_history(settings: TrainSettings, progress: float) -> int:
    """Return the most history slices at this progress: none at first, then one more at a time (ours)."""
    if progress < settings.singles:
        return 0
    grown = (progress - settings.singles) / (1 - settings.singles) if settings.singles else 1.0
    return min(1 + int(grown * settings.max_history), settings.max_history)


def history_length(settings: TrainSettings, seed: int, step: int, longest: int | None = None) -> int:
    """Draw n of this step's runs: 1 to max_history, sometimes 0 (section 2.2, "random from 1-3").

    Args:
        longest: In place of max_history.
    """
    rng = np.random.default_rng([seed, 0, step])
    longest = settings.max_history if longest is None else longest
    if rng.random() < settings.cold_probability or longest == 0:
        return 0
    return int(rng.integers(1, longest + 1))


def _target(presence: np.ndarray, rng: np.random.Generator, balanced: float) -> int:
    """Draw a slice: any, or one that shows a class drawn at random, so that small organs are not rare."""
    classes = np.flatnonzero(presence.any(0))
    if len(classes) and rng.random() < balanced:
        return int(rng.choice(np.flatnonzero(presence[:, rng.choice(classes)])))
    return int(rng.integers(len(presence)))


def _stack_start(target: int, depth: int, slices: int, overhang: int, rng: np.random.Generator) -> int:
    """Draw the first slice of a stack that holds the target; a stack longer than the volume has it in its middle."""
    low, high = -overhang, depth - slices + overhang
    if high <= low:
        return (depth - slices) // 2
    return min(max(target - int(rng.integers(slices)), low), high)


class CaseList(TorchDataset):
    """Whole cases, one per item, for validation: this rank's share, and None where others have one more."""

    def __init__(self, cases: Sequence[PreparedCase], rank: int = 0, ranks: int = 1):
        self.cases = [*cases, *[None] * (-len(cases) % ranks)][rank::ranks]

    def __getitem__(self, number: int) -> PreparedCase | None:
        return self.cases[number]

    def __len__(self) -> int:
        return len(self.cases)


class StreamSampler(Sampler[int]):
    """Yields the example indices of one epoch, starting at the current step: of each step, this rank's share.

    Args:
        steps: Of an epoch.
        batch: Examples of a step on each rank.
    """

    def __init__(self, steps: int, batch: int, rank: int = 0, ranks: int = 1):
        self.steps, self.batch, self.rank, self.ranks = steps, batch, rank, ranks
        self.step = 0

    def __iter__(self) -> Iterator[int]:
        for step in range(self.step, self.step + self.steps):
            first = (step * self.ranks + self.rank) * self.batch
            yield from range(first, first + self.batch)

    def __len__(self) -> int:
        return self.steps * self.batch


def collate(items: Sequence[list[Example]]) -> SliceRun:
    """Stack the examples of all items to a batch."""
    images, labels, upward, before, cases = zip(*chain.from_iterable(items), strict=True)
    return SliceRun(torch.stack(images), torch.stack(labels), torch.tensor(upward), torch.stack(before), cases)
