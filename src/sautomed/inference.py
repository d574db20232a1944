"""A Segmenter led along a walk: slices stream in, label slices stream out, and memory is bounded by the chunk.

Knows no files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor

from sautomed.config import SegmentSettings, Settings
from sautomed.errors import UsageError
from sautomed.model.segmenter import Features, Segmenter
from sautomed.sampling.fit import channel_slices
from sautomed.sampling.intensity import intensity_range, scale_intensity
from sautomed.sampling.prepare import fit_of
from sautomed.volume import LabelMap, Volume
from sautomed.walk import WALKS, Step, neighbours

OnSlice = Callable[[int, int], None]  # slices done, slices in all

ReadSlices = Callable[[list[int]], Float[Tensor, "n s s"]]


@dataclass(frozen=True)
class SegmentedSlice:
    """One finished slice: its index in the oriented volume, how many are done, and its labels at native size."""

    index: int
    done: int
    total: int
    labels: UInt[np.ndarray, "h w"]


def segment_slices(
    network: Segmenter, volume: Volume, settings: Settings, labels: Mapping[int, str]
) -> Iterator[SegmentedSlice]:
    """Each slice of an oriented volume as soon as it is done, in the order of the walk.

    Args:
        settings: Resolved; nothing in `settings.data` is left on "auto".
        labels: Value in the label map -> organ; class k is the k-th smallest value.
    """
    data, depth = settings.data, len(volume.array)
    device = next(network.parameters()).device
    fit, bounds = fit_of(volume, data), intensity_range(volume.array, data)
    values = np.array([0, *sorted(labels)], label_type(labels))

    def read(rows: list[int]) -> Tensor:
        return fit.to_network(torch.from_numpy(scale_intensity(volume.array[rows], bounds)).to(device))

    walk = walk_slices(network, read, depth, data.channels, settings.segment)
    for done, (index, logits) in enumerate(walk, start=1):
        classes = fit.to_native(logits[None].float())[0].argmax(0).to(torch.uint8).cpu().numpy()
        yield SegmentedSlice(index, done, depth, values[classes])


def segment_volume(
    network: Segmenter,
    volume: Volume,
    settings: Settings,
    labels: Mapping[int, str],
    on_slice: OnSlice | None = None,
) -> LabelMap:
    """The label map of a whole volume; as `segment_slices`."""
    whole = np.zeros(volume.array.shape, label_type(labels))
    for part in segment_slices(network, volume, settings, labels):
        whole[part.index] = part.labels
        if on_slice:
            on_slice(part.done, part.total)
    return LabelMap(whole, volume.affine, volume.native, volume.plane, dict(labels))


def label_type(labels: Mapping[int, str]) -> type[np.unsignedinteger]:
    """The smallest type that holds every label value."""
    return np.uint8 if max(labels) < 256 else np.uint16


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        UsageError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"there is no device '{name}' here.", where="--device", cure="Use auto or cpu.")
    return torch.device(name)


# What else says that memory ran out: on the CPU and in CUDA's libraries PyTorch has no type of its own for it.
_SHORTAGES = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def is_memory_shortage(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(t in str(error) for t in _SHORTAGES)


@torch.inference_mode()
def walk_slices(
    model: Segmenter, read: ReadSlices, depth: int, channels: str, settings: SegmentSettings
) -> Iterator[tuple[int, Float[Tensor, "k+1 h w"]]]:
    """The logits of each slice, in the order of the walk.

    Args:
        read: Slices of the given indices in [0, 1], on the model's device.
        depth: Slices of the volume, at least 1.
        channels: As in `DataSettings`.
    """
    steps = WALKS[settings.walk](depth)
    stream = FeatureStream(model, read, steps, depth, channels, settings.chunk)
    state = model.start(1)
    for number, step in enumerate(steps):
        trios = [neighbours(t, depth) for t in step.slices]
        before, here, after = (stream.features([trio[i] for trio in trios]) for i in range(3))
        out = model.step(model.share(before, here, after), state.take(step.sources))
        state = out.state
        stream.forget(number)
        yield from zip(step.slices, out.logits, strict=True)


class FeatureStream:
    """Trunk features in walk order: each slice passes the trunk once, in chunks, and goes after its last use."""

    def __init__(
        self, model: Segmenter, read: ReadSlices, steps: Sequence[Step], depth: int, channels: str, chunk: int
    ):
        self.model, self.read, self.depth, self.channels, self.chunk = model, read, depth, channels, chunk
        self.last_use: dict[int, int] = {}
        for number, step in enumerate(steps):
            for t in step.slices:
                self.last_use |= dict.fromkeys(neighbours(t, depth), number)
        # a dict keeps the order in which its keys first came: the order of first use
        self.queue = list(self.last_use)
        self.kept: dict[int, Features] = {}

    def features(self, slices: Sequence[int]) -> Features:
        while not all(t in self.kept for t in slices):
            self._encode_chunk()
        return Features.cat([self.kept[t] for t in slices])

    def forget(self, number: int) -> None:
        """Drop what no step after this one needs."""
        self.kept = {t: f for t, f in self.kept.items() if self.last_use[t] > number}

    def _encode_chunk(self) -> None:
        wanted, self.queue = self.queue[: self.chunk], self.queue[self.chunk :]
        trios = [channel_slices(t, self.depth, self.channels) for t in wanted]
        rows = sorted({t for trio in trios for t in trio})
        place = {t: i for i, t in enumerate(rows)}
        images = self.read(rows)[torch.tensor([[place[t] for t in trio] for trio in trios])]
        features = self.model.encode(images)
        for i, t in enumerate(wanted):
            # a copy, or one kept slice would hold the whole chunk's memory
            self.kept[t] = Features(
                features.coarse[i : i + 1].clone(), tuple(m[i : i + 1].clone() for m in features.fine)
            )
