"""Costs of a system: its parameters, the floating point operations of a volume, and the machine it runs on."""

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
class ParameterCounts:
    """Number of a network's parameters: of all, and of those that training changes."""

    all: int
    trained: int


def count_parameters(network: nn.Module) -> ParameterCounts:
    """Count parameters; a tensor that two layers share counts once."""
    parameters = list(network.parameters())
    return ParameterCounts(sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


def count_flops(
    network: Segmenter, volume: Volume, settings: Settings, labels: Mapping[int, str], truth: LabelMap | None
) -> float | None:
    """Count the floating point operations of segmenting a volume, a multiply-add as two; None if that is impossible.

    PyTorch's counter covers matrix products, convolutions and attention; the rest is small.
    """
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            deque(segment_slices(network, volume, settings, labels, truth), maxlen=0)
    except (RuntimeError, NotImplementedError, TypeError) as error:  # an operator that the counter does not support
        log.warning("floating point operations could not be counted: %s", error)
        return None
    return float(counter.get_total_flops())


def describe_machine() -> str:
    """Return the machine of this process: `Intel(R) Xeon(R) Gold 6226R, 16 cores, 8 threads used, Linux, no GPU`."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    used = f"{threads} thread{'s' * (threads != 1)} used"
    return f"{processor_name()}, {cores} core{'s' * (cores != 1)}, {used}, {platform.system()}, {graphics}"


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as Linux gives it, or else as Python does."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [name.strip() for key, _, name in (line.partition(":") for line in lines) if key.strip() == "model name"]
    return next(filter(None, names), "") or platform.processor() or platform.machine()
