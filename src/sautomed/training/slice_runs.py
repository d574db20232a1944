"""Training examples: runs of 1 + n consecutive slices, with the neighbours of the first and the last.

Every example follows from the seed and its number alone, so a resumed training sees the same examples as one that was
not interrupted.
"""

from collections.abc import Iterator, Sequence
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
    """Consecutive slices in walk order. `images` has one more at each end: the neighbours of the first and the last.

    Attributes:
        images: In [0, 1].
        labels: Of the inner slices; the last is the target.
        upward: Whether the walk goes towards higher indices; else the anatomical order is the reverse.
        cases: Ids.
    """

    images: Float[Tensor, "b n+2 3 h w"]
    labels: Int[Tensor, "b n h w"]
    upward: Tensor
    cases: tuple[str, ...] = ()


class SliceRunDataset(TorchDataset):
    """Endless stream of examples that a seed defines; item i is the i-th.

    Args:
        stack: (slices, overhang) of a model that takes so many slices in anatomical order, at most so many of them past
            an end of the volume; None for walkers, which get a target and its history, of one length in a batch.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        settings: TrainSettings,
        channels: str,
        seed: int,
        stack: tuple[int, int] | None = None,
    ):
        self.cases, self.settings, self.channels, self.seed, self.stack = cases, settings, channels, seed, stack
        self.augment = make_augment(settings.augment)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, bool, str]:
        rng = np.random.default_rng([self.seed, 1, number])
        case = self.cases[int(rng.integers(len(self.cases)))]
        target = _target(case.presence, rng, self.settings.balanced)
        if self.stack is None:
            history = history_length(self.settings, self.seed, number // self.settings.batch)
            upward = bool(rng.random() < 0.5)
            direction = 1 if upward else -1
            wanted = [target + direction * shift for shift in range(-history - 1, 2)]
        else:
            upward, first = True, _stack_start(target, len(case.presence), *self.stack, rng)
            wanted = list(range(first - 1, first + self.stack[0] + 1))
        return *self._load(case, wanted, rng), upward, case.id

    def _load(self, case: PreparedCase, wanted: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Load slices; those past either end repeat the edge, and channels may reach one further than the run."""
        depth = len(case.images)
        low, high = max(min(wanted) - 1, 0), min(max(wanted) + 1, depth - 1)
        images = torch.from_numpy(case.images[low : high + 1].astype(np.float32))
        labels = torch.from_numpy(np.array(case.labels[low : high + 1]))
        images, labels = self.augment(images, labels, rng)
        inside = [min(max(t, 0), depth - 1) for t in wanted]
        index = torch.tensor([channel_slices(t, depth, self.channels) for t in inside]) - low
        return images[index], labels[[t - low for t in inside[1:-1]]].long()


def history_length(settings: TrainSettings, seed: int, step: int) -> int:
    """Draw n of this step's runs: 1 to max_history, sometimes 0 (section 2.2, "random from 1-3")."""
    rng = np.random.default_rng([seed, 0, step])
    if rng.random() < settings.cold_probability:
        return 0
    return int(rng.integers(1, settings.max_history + 1))


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
    """Whole cases, one per item, for validation."""

    def __init__(self, cases: Sequence[PreparedCase]):
        self.cases = cases

    def __getitem__(self, number: int) -> PreparedCase:
        return self.cases[number]

    def __len__(self) -> int:
        return len(self.cases)


class StreamSampler(Sampler[int]):
    """Yields the example indices of one epoch, starting at the current step."""

    def __init__(self, per_epoch: int):
        self.per_epoch, self.first = per_epoch, 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.per_epoch))

    def __len__(self) -> int:
        return self.per_epoch


def collate(examples: Sequence[tuple[Tensor, Tensor, bool, str]]) -> SliceRun:
    """Stack examples to a batch."""
    images, labels, upward, cases = zip(*examples, strict=True)
    return SliceRun(torch.stack(images), torch.stack(labels), torch.tensor(upward), cases)
