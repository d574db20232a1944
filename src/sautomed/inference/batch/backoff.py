"""Segment with fewer slices at a time, then on the CPU, if memory runs out in spite of the prediction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from sautomed.errors import MemoryShortage
from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.device import is_memory_shortage
from sautomed.inference.engine import Computing
from sautomed.inference.model import Model, with_chunk
from sautomed.inference.prompts.collect import PromptCollector
from sautomed.inference.prompts.document import SlicePrompts
from sautomed.inference.segmenting import OnSlice, SegmentedSlice, label_map_of, reporting
from sautomed.scans.volume import LabelMap, Volume

log = logging.getLogger(__name__)
CPU = torch.device("cpu")
SlicesOf = Callable[[Model, Volume], Iterator[SegmentedSlice]]  # a slice may come again, and is then another one


@dataclass(frozen=True)
class SegmentedVolume:
    """A label map, and what it took.

    Args:
        model: As it was in the end: on the device that had enough memory.
        notes: One sentence for each attempt that ran out of memory.
        prompts: Of every slice; none for systems without box prompts.
        signals: How sure every slice is.
    """

    labels: LabelMap
    model: Model
    notes: tuple[str, ...]
    prompts: tuple[SlicePrompts, ...]
    signals: SignalCollector

    @property
    def device(self) -> torch.device:
        """The device that had enough memory."""
        return self.model.device

    @property
    def chunk(self) -> int:
        """Slices that passed through the trunk together."""
        return self.model.settings.segment.chunk


def slices_of_model(model: Model, volume: Volume) -> Iterator[SegmentedSlice]:
    """Return the slices as the model finds them."""
    return model.slices(volume)


def segment_with_backoff(
    model: Model, volume: Volume, on_slice: OnSlice | None = None, slices_of: SlicesOf = slices_of_model
) -> SegmentedVolume:
    """Segment a volume; each time memory runs out, log a warning and make the next of the `attempts`.

    Args:
        slices_of: Segments; in place of the model alone.
    Raises:
        MemoryShortage: It runs out in the last attempt, too.
    """
    tries = attempts(model.device, model.settings.segment.chunk)
    notes: list[str] = []
    for number, (device, chunk) in enumerate(tries, start=1):
        shortage = ""
        try:
            attempted = with_chunk(model, chunk, device)
            labels, prompts, signals = _segment(attempted, volume, on_slice, slices_of)
            return SegmentedVolume(labels, attempted, tuple(notes), prompts, signals)
        except (MemoryError, RuntimeError) as error:
            if not is_memory_shortage(error):
                raise
            shortage = str(error).split("\n", 1)[0] or type(error).__name__
        # Only here, after the handler, is the memory free: the traceback of the error held it.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        following = tries[number] if number < len(tries) else None
        notes.append(_note(volume, model.computing, (device, chunk), following, shortage))
        log.warning("%s", notes[-1])
    raise memory_shortage(volume.path or "volume")


def _segment(
    model: Model, volume: Volume, on_slice: OnSlice | None, slices_of: SlicesOf
) -> tuple[LabelMap, tuple[SlicePrompts, ...], SignalCollector]:
    prompts, signals, report = PromptCollector(model.labels), SignalCollector(model.labels), reporting(on_slice)

    def take(part: SegmentedSlice) -> None:
        prompts.add(part)
        signals.add(part)
        report(part)

    labels = label_map_of(slices_of(model, volume), volume, model.labels, take)
    return labels, prompts.slices, signals


def attempts(device: torch.device, chunk: int) -> list[tuple[torch.device, int]]:
    """Return devices and chunks to try: those requested, then halves down to one slice, then the same on the CPU."""
    chunks = [chunk]
    while chunks[-1] > 1:
        chunks.append(chunks[-1] // 2)
    devices = [device] if device.type == "cpu" else [device, CPU]
    return [(place, size) for place in devices for size in chunks]


def memory_shortage(scan: str | Path) -> MemoryShortage:
    """Return the error for memory that ran out while a scan was processed."""
    return MemoryShortage(
        "needs more memory than there is.",
        where=scan,
        cure="Close other programs, or use a machine with more memory.",
    )


def _note(
    volume: Volume,
    computing: Computing,
    tried: tuple[torch.device, int],
    following: tuple[torch.device, int] | None,
    shortage: str,
) -> str:
    device, chunk = tried
    then = "nothing smaller is left" if following is None else f"trying {following[1]} on {following[0].type}"
    if following is not None and computing.on(device) != computing.on(following[0]):
        then += " in float32, as it does not compute in bf16"
    return (
        f"{volume.path or 'volume'}: {chunk} slices at a time on {device.type} ran out of memory ({shortage}); {then}."
    )
