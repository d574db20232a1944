"""What is tried when memory runs out in spite of the prediction: fewer slices at a time, then the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from sautomed.errors import MemoryShortage
from sautomed.inference.model import Model, with_chunk
from sautomed.inference.segmenting import OnSlice, is_memory_shortage
from sautomed.scans.volume import LabelMap, Volume

log = logging.getLogger(__name__)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Segmented:
    """A label map and how it came about.

    Args:
        device: Where the network was in the end.
        chunk: How many slices passed the trunk together in the end.
        notes: One sentence for each try that ran out of memory.
    """

    labels: LabelMap
    device: torch.device
    chunk: int
    notes: tuple[str, ...] = ()


def segment_with_backoff(model: Model, volume: Volume, on_slice: OnSlice | None = None) -> Segmented:
    """Segment a volume, rung by rung of `ladder` until memory suffices; each step down is logged as a warning.

    Raises:
        MemoryShortage: Not even the last rung has room.
    """
    rungs = ladder(model.device, model.settings.segment.chunk)
    notes: list[str] = []
    for number, (device, chunk) in enumerate(rungs, start=1):
        shortage = ""
        try:
            labels = with_chunk(model, chunk, device).segment(volume, on_slice)
            return Segmented(labels, device, chunk, tuple(notes))
        except (MemoryError, RuntimeError) as error:
            if not is_memory_shortage(error):
                raise
            shortage = str(error).split("\n", 1)[0] or type(error).__name__
        # Only here, past the handler, is the failed try's memory free: the error held it through its traceback.
        if device.type == "cuda":
            torch.cuda.empty_cache()
        following = rungs[number] if number < len(rungs) else None
        notes.append(_note(volume, (device, chunk), following, shortage))
        log.warning("%s", notes[-1])
    raise memory_shortage(volume.path or "volume")


def ladder(device: torch.device, chunk: int) -> list[tuple[torch.device, int]]:
    """Devices and chunks from the one asked for, by halves, to a single slice on the CPU."""
    chunks = [chunk]
    while chunks[-1] > 1:
        chunks.append(chunks[-1] // 2)
    rungs = [(device, c) for c in chunks]
    return rungs if device.type == "cpu" else [*rungs, *((CPU, c) for c in chunks)]


def memory_shortage(scan: str | Path) -> MemoryShortage:
    """What is told when memory ran out while working."""
    return MemoryShortage(
        "needs more memory than there is.",
        where=scan,
        cure="Close other programs, or use a machine with more memory.",
    )


def _note(
    volume: Volume, tried: tuple[torch.device, int], following: tuple[torch.device, int] | None, shortage: str
) -> str:
    device, chunk = tried
    then = "nothing smaller is left" if following is None else f"trying {following[1]} on {following[0].type}"
    return (
        f"{volume.path or 'volume'}: {chunk} slices at a time on {device.type} ran out of memory ({shortage}); {then}."
    )
