"""Parts of several benchmarks: fresh processes, peak memory, random SAM weights, tables, and the line on the machine.

Torch is imported inside functions: the peak memory of a new process includes the size of the process that started it,
so that one must stay small.
"""

import os
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sautomed.config import Settings

STATUS = Path("/proc/self/status")


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function in a new process, so that the peak memory is its own, and return its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_mb() -> float:
    """Return the peak of resident memory since `reset_peak` where that works, else since the process began."""
    if STATUS.exists():  # Linux: VmHWM is what ru_maxrss reports, but can be set back
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB elsewhere


def reset_peak() -> None:
    """Set the peak back to what is held now, so that building a model does not hide what follows."""
    with suppress(OSError):  # not Linux, or not allowed: the peak then includes what came before
        Path("/proc/self/clear_refs").write_text("5")


def write_random_sam(path: Path, size: Literal["b", "l", "h"] = "b") -> Path:
    """Write SAM with random weights under the names of the published files: as large and as slow as the real one."""
    import torch

    from sautomed.model.sam.keys import to_official
    from sautomed.model.sam.network import build_sam

    torch.manual_seed(0)
    sam = build_sam(size)
    names = {"vision": "vision_encoder", "prompt": "prompt_encoder", "decoder": "mask_decoder"}
    state = {f"{names[part]}.{rest}": v for k, v in sam.state_dict().items() for part, _, rest in [k.partition(".")]}
    torch.save(to_official(state), path)
    return path


def is_on_sam(settings: "Settings") -> bool:
    """Return whether the system has SAM's trunk, whose weights it must be given."""
    from sautomed.config import SamTrunkSettings

    return isinstance(getattr(settings.model, "trunk", None), SamTrunkSettings)


def machine() -> str:
    """Return the processor, the versions and the date."""
    chip = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{chip}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {version('torch')}, sautomed {version('sautomed')}, "
        f"{datetime.now(UTC):%Y-%m-%d}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table with padded columns, all but the first aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    for first, *others in [head, rule, *rows]:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        print(f"| {' | '.join(cells)} |")
