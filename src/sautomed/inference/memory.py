"""Predict the memory for segmenting a scan, from its header and the model, and measure what is used.

The trunk's share is counted: its layers run on empty slices, and the tensors that exist at one time are added up. All
but small trunks on a CPU run on PyTorch's meta device, which computes shapes but holds no numbers.
`benchmarks/memory.py` compares the prediction with measurements.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sautomed.errors import MemoryShortage
from sautomed.inference.intensity import SAMPLE
from sautomed.inference.memory_limits import room_in_groups
from sautomed.inference.model import Model
from sautomed.inference.view import label_type
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Features
from sautomed.scans import Geometry
from sautomed.scans.grid import choose_plane, orient

GB = 10**9
WALKERS = 2  # a step of a walk takes at most two slices
WINDOW = 3 * WALKERS  # slices whose features are kept besides those of a chunk: each walker's and its neighbours'
MARGIN = 1.15  # ours: for libraries (oneDNN's layouts, allocators); see benchmarks/memory.py
FEATURE_BYTES = 2**30  # ours: of a session's features that stay in memory; the others go into a file
LIGHT = 30_000_000  # ours, parameters: such a trunk sees a slice sooner than the meta device is imported (a second)
CORRECTION_BYTES = 2**28  # ours: of the slices near a session's corrections
OVERHEAD = 180_000_000  # ours, bytes: what libraries load, compile and keep with the first scan; likewise


@dataclass(frozen=True)
class TrunkCost:
    """Peak memory of the trunk in bytes for `chunk` slices: fixed + chunk * per_slice.

    Args:
        features: Bytes of one slice's features, which are kept until its neighbours are done.
    """

    fixed: int
    per_slice: int
    features: int


@dataclass(frozen=True)
class MemoryNeed:
    """Predicted bytes of main memory.

    Args:
        resident: Held by the process already, including the model.
        reading: In addition, while the scan is read and oriented.
        segmenting: In addition, while it is segmented.
        writing: In addition, while labels and preview are written.
    """

    resident: int
    reading: int
    segmenting: int
    writing: int

    @property
    def peak(self) -> int:
        return self.resident + max(self.reading, self.segmenting, self.writing)


def trunk_cost(network: Segmenter, image_size: int) -> TrunkCost:
    """Count what the trunk needs for square images of `image_size` pixels per side."""
    one, two = (_live_bytes(network, image_size, images) for images in (1, 2))
    per_slice = max(two[0] - one[0], 0)
    return TrunkCost(max(one[0] - per_slice, 0), per_slice, one[1])


def predict(
    geometry: Geometry, model: Model, cost: TrunkCost, chunk: int, resident: int | None = None, session: bool = False
) -> MemoryNeed:
    """Predict the memory for segmenting a scan with `chunk` slices at a time through the trunk.

    Args:
        geometry: The scan's header.
        cost: `trunk_cost` of the model.
        resident: Bytes held already; by default those of this process.
        session: Whether the result is to be corrected: features, states and labels then stay.
    """
    depth, rows, columns = oriented_shape(geometry, model)
    voxels, side = depth * rows * columns, int(model.settings.data.image_size)
    stored, labels = voxels * geometry.dtype.itemsize, voxels * np.dtype(label_type(model.labels)).itemsize
    classes = len(model.labels) + 1
    # Scaled voxels exist beside the stored ones, then beside the oriented ones; wide types are scaled in float64.
    widened = 16 * voxels if geometry.dtype.itemsize > 2 else 4 * voxels
    reading = max(stored + 4 * voxels + widened, 4 * voxels + 4 * voxels)
    kept = 4 * voxels + labels
    if session:
        state = 2 * classes * side * side  # masks and what was carried, as float32 at half the resolution
        kept += labels + depth * state + min(depth * cost.features, FEATURE_BYTES) + CORRECTION_BYTES
    # A step's logits are resized from the input size to the native one, as float32 with a copy in between.
    step = WALKERS * classes * 4 * (side * side + 3 * rows * columns)
    chunk = min(chunk, depth)
    images = chunk * (6 * side * side + 3 * rows * columns) * 4
    on_cpu = images + cost.fixed + chunk * (cost.per_slice + cost.features) + (WINDOW + chunk) * cost.features
    segmenting = kept + step + (on_cpu if model.device.type == "cpu" else images) + 16 * min(voxels, SAMPLE)
    # The preview selects the voxels that are not zero, and sorts them for its percentiles.
    writing = kept + 2 * labels + 9 * voxels
    return MemoryNeed(
        resident_bytes() if resident is None else resident,
        *(int(share * MARGIN) + OVERHEAD for share in (reading, segmenting, writing)),
    )


def choose_chunk(
    geometry: Geometry, model: Model, cost: TrunkCost, max_ram_gb: float | None = None, session: bool = False
) -> tuple[int, MemoryNeed]:
    """Return the largest chunk, up to the model's own, for which memory suffices, and the memory it needs.

    Args:
        max_ram_gb: Largest memory of this process, in GB (10^9 bytes); None: what the machine has available.
        session: As `predict`.
    Raises:
        MemoryShortage: One slice at a time needs too much memory, too.
    """
    limit = available_bytes() if max_ram_gb is None else max_ram_gb * GB
    chunk = model.settings.segment.chunk
    while (need := predict(geometry, model, cost, chunk, session=session)).peak > limit:
        if chunk == 1:
            raise _shortage(geometry, need, limit, max_ram_gb)
        chunk //= 2
    return chunk, need


def _shortage(geometry: Geometry, need: MemoryNeed, limit: float, max_ram_gb: float | None) -> MemoryShortage:
    shape = " x ".join(map(str, geometry.shape))
    if max_ram_gb is None:
        allowed = f"there are {limit / GB:.2f} GB"
        cure = "Close other programs, give the container, job or machine more memory, or crop or resample the scan."
    else:
        allowed, enough = f"--max-ram allows {limit / GB:.2f} GB", need.peak / GB + 0.05
        cure = f"Give --max-ram {enough:.1f} or more, if the machine has it; otherwise crop or resample the scan."
    return MemoryShortage(
        f"has {shape} voxels and needs {need.peak / GB:.2f} GB of memory even one slice at a time, but {allowed}.",
        where=geometry.path,
        cure=cure,
    )


def resident_bytes() -> int:
    """Return the main memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def available_bytes() -> int:
    """Return the most main memory, in bytes, that this process can use in total; limits of its groups count."""
    room, of_groups = int(psutil.virtual_memory().available), room_in_groups()
    return resident_bytes() + max(room if of_groups is None else min(room, of_groups), 0)


def reset_peak() -> None:
    """Restart the measurement of `peak_bytes`, on systems that can, and of CUDA's peak."""
    with suppress(OSError):  # not Linux, or not permitted: then the peak counts from the start of the process
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int:
    """Return the peak main memory of this process in bytes, since `reset_peak` or else since its start."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    if os.name == "nt":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def oriented_shape(geometry: Geometry, model: Model) -> tuple[int, int, int]:
    """Return (slices, rows, columns) of the oriented scan, found by orienting an array of stride 0, without memory."""
    empty = np.broadcast_to(np.uint8(0), geometry.shape)
    oriented, _ = orient(empty, geometry.native, choose_plane(geometry.native, model.settings.data.plane))
    depth, rows, columns = oriented.shape
    return depth, rows, columns


def _live_bytes(network: Segmenter, image_size: int, images: int) -> tuple[int, int]:
    """Return the peak bytes of the network's heaviest part, and the bytes of its output."""
    encoder = _Encoder(network)
    tensors = dict((*encoder.named_parameters(), *encoder.named_buffers()))
    if not _runs_at_once(network, tensors.values()):
        tensors = {name: torch.empty_like(x, device="meta") for name, x in tensors.items()}
    device = next(iter(tensors.values()), torch.empty(0)).device
    batch = torch.zeros(images, 3, image_size, image_size, device=device)
    with torch.no_grad(), _StorageCounter(tensors.values()) as counter:
        features = torch.func.functional_call(encoder, tensors, (batch,))
    kept = (features.coarse, *features.fine) if isinstance(features, Features) else tree_leaves(features)
    return counter.peak, sum(x.numel() * x.element_size() for x in kept if isinstance(x, Tensor))


def _runs_at_once(network: Segmenter, tensors: Iterable[Tensor]) -> bool:
    """Return whether to run the trunk itself: it is small, on the CPU, and sees slices, not windows of a volume."""
    on_cpu = all(x.device.type == "cpu" for x in tensors)
    return isinstance(network, SliceWalker) and on_cpu and sum(x.numel() for x in tensors) <= LIGHT


class _Encoder(nn.Module):
    """The heaviest part as a module, which `functional_call` can run with parameters on the meta device."""

    def __init__(self, network: Segmenter):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> object:
        return self.network.run_heaviest_part(images)


class _StorageCounter(TorchDispatchMode):
    """Adds up the storages that operators create, as long as they are referenced; the weights are not counted."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known = {weight.untyped_storage()._cdata for weight in weights}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing is compiled here, and importing the compiler, only to skip it, takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size
