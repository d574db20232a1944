"""A Segmenter led along a walk: slices stream in, label slices stream out, and memory is bounded by the chunk.

Knows no files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor

from sautomed.config import DataSettings, SegmentSettings, Settings
from sautomed.errors import PromptsNeeded, UsageError
from sautomed.inference.fit import SliceFit, channel_slices, consecutive, fit_of
from sautomed.inference.intensity import intensity_range, scale_intensity
from sautomed.model.segmenter import (
    Features,
    PredictedSlice,
    PromptedSegmenter,
    Segmenter,
    SliceReader,
    SliceWalker,
    StackSegmenter,
)
from sautomed.model.walk_order import WALKS, Step, neighbours
from sautomed.scans.volume import LabelMap, Volume

OnSlice = Callable[[int, int], None]  # slices done, slices in all

ReadSlices = Callable[[list[int]], Float[Tensor, "n s s"]]


@dataclass(frozen=True)
class SegmentedSlice:
    """One finished slice: its index in the oriented volume, how many are done, and its labels at native size.

    Attributes:
        boxes: Each class's box that prompted the slice, x0 y0 x1 y1 in native pixels, nan where it had none; None for
            systems without boxes.
    """

    index: int
    done: int
    total: int
    labels: UInt[np.ndarray, "h w"]
    boxes: Float[np.ndarray, "k 4"] | None = None


class NetworkView:
    """A volume as the network sees it (`SliceReader`): windowed, resized, with channels, on the network's device.

    Args:
        truth: The label map of the volume, for systems that are prompted from it.
        labels: Value in the label map -> organ; class k is the k-th smallest value.
    """

    def __init__(
        self,
        volume: Volume,
        data: DataSettings,
        device: torch.device,
        labels: Mapping[int, str],
        truth: LabelMap | None = None,
    ):
        self.depth, self.fit = len(volume.array), fit_of(volume, data)
        self._volume, self._truth, self._labels, self._device = volume, truth, sorted(labels), device
        self._bounds, self._channels = intensity_range(volume.array, data), data.channels

    def images(self, rows: Sequence[int]) -> Tensor:
        return with_channels(self._read, rows, self.depth, self._channels)

    def _read(self, rows: list[int]) -> Tensor:
        scaled = torch.from_numpy(scale_intensity(self._volume.array[rows], self._bounds))
        return self.fit.to_network(scaled.to(self._device))

    def truth(self, rows: Sequence[int]) -> Tensor:
        if self._truth is None:
            raise PromptsNeeded(
                "this system must be told where the organs are, and the scan comes without its label map.",
                where="prompts",
                cure="Run it in a study, which takes its prompts from the truth, or use a system that needs none.",
            )
        classes = consecutive(self._truth.array[list(rows)], self._labels, "truth")
        return self.fit.labels_to_network(torch.from_numpy(classes), len(self._labels)).long().to(self._device)


def with_channels(read: ReadSlices, rows: Sequence[int], depth: int, channels: str) -> Float[Tensor, "n 3 s s"]:
    """Slices with the three channels that the settings give them; each slice is read once."""
    trios = [channel_slices(t, depth, channels) for t in rows]
    wanted = sorted({t for trio in trios for t in trio})
    place = {t: i for i, t in enumerate(wanted)}
    return read(wanted)[torch.tensor([[place[t] for t in trio] for trio in trios])]


def segment_slices(
    network: Segmenter, volume: Volume, settings: Settings, labels: Mapping[int, str], truth: LabelMap | None = None
) -> Iterator[SegmentedSlice]:
    """Each slice of an oriented volume as soon as it is done, in the order of the walk.

    Args:
        settings: Resolved; nothing in `settings.data` is left on "auto".
        labels: Value in the label map -> organ; class k is the k-th smallest value.
        truth: On the volume's grid; only for systems that are prompted from it.
    Raises:
        PromptsNeeded: Such a system, and no truth.
    """
    view = NetworkView(volume, settings.data, next(network.parameters()).device, labels, truth)
    values = np.array([0, *sorted(labels)], label_type(labels))
    for done, found in enumerate(predict_slices(network, view, settings.segment), start=1):
        classes = view.fit.to_native(found.logits[None].float())[0].argmax(0).to(torch.uint8).cpu().numpy()
        yield SegmentedSlice(found.index, done, view.depth, values[classes], _native_boxes(found, view.fit))


def _native_boxes(found: PredictedSlice, fit: SliceFit) -> Float[np.ndarray, "k 4"] | None:
    if found.boxes is None or found.present is None:
        return None
    rows, columns = fit.native
    boxes = fit.boxes_to_native(found.boxes.float())
    inside = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([columns, rows, columns, rows]))
    return torch.where(found.present[:, None], inside, torch.nan).cpu().numpy()


def segment_volume(
    network: Segmenter,
    volume: Volume,
    settings: Settings,
    labels: Mapping[int, str],
    on_slice: OnSlice | None = None,
    truth: LabelMap | None = None,
) -> LabelMap:
    """The label map of a whole volume; as `segment_slices`."""
    whole = np.zeros(volume.array.shape, label_type(labels))
    for part in segment_slices(network, volume, settings, labels, truth):
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
def predict_slices(model: Segmenter, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
    """Each slice of a volume once, in the order in which the model gets through."""
    if isinstance(model, SliceWalker):
        yield from walk_slices(model, volume, settings)
    elif isinstance(model, StackSegmenter):
        yield from stack_slices(model, volume)
    elif isinstance(model, PromptedSegmenter):
        yield from model.predict(volume, settings.chunk)
    else:
        raise TypeError(f"{type(model).__name__} is no walker, no stack and no prompted segmenter")


def walk_slices(model: SliceWalker, volume: SliceReader, settings: SegmentSettings) -> Iterator[PredictedSlice]:
    """The slices in the order of the walk."""
    steps = WALKS[settings.walk](volume.depth)
    stream = FeatureStream(model, volume, steps, settings.chunk)
    state = model.start(1)
    for number, step in enumerate(steps):
        trios = [neighbours(t, volume.depth) for t in step.slices]
        before, here, after = (stream.features([trio[i] for trio in trios]) for i in range(3))
        prompt = state.take(step.sources)
        out = model.step(model.share(before, here, after), prompt)
        state = out.state
        stream.forget(number)
        for row, (t, logits) in enumerate(zip(step.slices, out.logits, strict=True)):
            boxes = (None, None) if out.boxes is None else (prompt.boxes[row], prompt.present[row])
            yield PredictedSlice(t, logits, *boxes)


def stack_slices(model: StackSegmenter, volume: SliceReader) -> Iterator[PredictedSlice]:
    """The slices from the first to the last, each with the mean softmax of the stacks that hold it."""
    sums: dict[int, Tensor] = {}
    starts = stack_starts(volume.depth, model.slices, model.stride, model.overhang)
    for start, following in zip_longest(starts, starts[1:], fillvalue=volume.depth):
        rows = [min(max(t, 0), volume.depth - 1) for t in range(start, start + model.slices)]
        probabilities = model(volume.images(rows)[None])[0].float().softmax(1)
        for t, found in enumerate(probabilities, start=start):
            if 0 <= t < volume.depth:
                sums[t] = sums[t] + found if t in sums else found
        for t in sorted(t for t in sums if t < following):
            total = sums.pop(t)
            yield PredictedSlice(t, (total / total.sum(0)).log())


def stack_starts(depth: int, slices: int, stride: int, overhang: int) -> list[int]:
    """First slices of the stacks that cover a volume; negative where a stack reaches beyond its beginning.

    A volume with fewer slices than a stack lies in the middle of one.
    """
    first, last = -overhang, depth - slices + overhang
    if last <= first:
        return [(depth - slices) // 2]
    starts = list(range(first, last, stride))
    return [*starts, last]


class FeatureStream:
    """Trunk features in walk order: each slice passes the trunk once, in chunks, and goes after its last use."""

    def __init__(self, model: SliceWalker, volume: SliceReader, steps: Sequence[Step], chunk: int):
        self.model, self.volume, self.chunk = model, volume, chunk
        self.last_use: dict[int, int] = {}
        for number, step in enumerate(steps):
            for t in step.slices:
                self.last_use |= dict.fromkeys(neighbours(t, volume.depth), number)
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
        features = self.model.encode(self.volume.images(wanted))
        for i, t in enumerate(wanted):
            # a copy, or one kept slice would hold the whole chunk's memory
            self.kept[t] = Features(
                features.coarse[i : i + 1].clone(), tuple(m[i : i + 1].clone() for m in features.fine)
            )
