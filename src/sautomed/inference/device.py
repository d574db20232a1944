"""The device that a network runs on, and how running out of its memory is recognised."""

import torch

from sautomed.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA if available, else the CPU.

    Raises:
        UsageError: There is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"there is no device '{name}' here.", where="--device", cure="Use auto or cpu.")
    return torch.device(name)


# Parts of messages about memory: on the CPU and in CUDA's libraries PyTorch has no error type of its own for it.
_SHORTAGES = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def is_memory_shortage(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(t in str(error) for t in _SHORTAGES)
