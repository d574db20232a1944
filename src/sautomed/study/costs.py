"""What a system costs: numbers of its parameters, floating point operations of a volume, and the machine."""

from __future__ import annotations

import logging
import os
import platform
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sautomed.config import Settings
from sautomed.inference.segmenting import segment_slices
from sautomed.model.segmenter import Segmenter
from sautomed.scans.volume import LabelMap, Volume

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parameters:
    """Numbers in a network: all of them, and those that training changes."""

    all: int
    trained: int


def count_parameters(network: nn.Module) -> Parameters:
    """A tensor that two layers share counts once."""
    parameters = list(network.parameters())
    return Parameters(sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


def count_flops(
    network: Segmenter, volume: Volume, settings: Settings, labels: Mapping[int, str], truth: LabelMap | None
) -> float | None:
    """Floating point operations of segmenting a volume, two to a multiplication with addition; None if not countable.

    Counts matrix products, convolutions and attention, as PyTorch's own counter does; what else there is takes little.
    """
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            deque(segment_slices(network, volume, settings, labels, truth), maxlen=0)
    except (RuntimeError, NotImplementedError, TypeError) as error:  # what operators say that it cannot follow
        log.warning("floating point operations could not be counted: %s", error)
        return None
    return float(counter.get_total_flops())


def machine() -> str:
    """What the runs of this process run on: `Intel(R) Xeon(R) Gold 6226R, 16 cores, 8 threads used, Linux, no GPU`."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    used = f"{threads} thread{'s' * (threads != 1)} used"
    return f"{processor_name()}, {cores} core{'s' * (cores != 1)}, {used}, {platform.system()}, {graphics}"


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as Linux knows it; elsewhere, and where that has none, what Python knows."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [name.strip() for key, _, name in (line.partition(":") for line in lines) if key.strip() == "model name"]
    return next(filter(None, names), "") or platform.processor() or platform.machine()
