"""Engine and precision of a network's numbers, and what this machine can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sautomed.errors import UsageError

if TYPE_CHECKING:
    import torch

Engine = Literal["torch", "openvino"]
Precision = Literal["32", "bf16"]
ENGINES = ("torch", "openvino", "auto")
PRECISIONS = ("auto", "32", "bf16")
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Computing:
    """How numbers are computed; it decides the last digits of a result, and so belongs to what it is known by."""

    engine: Engine = "torch"
    precision: Precision = "32"

    def __str__(self) -> str:
        name = "OpenVINO" if self.engine == "openvino" else "PyTorch"
        return f"{name} in {'bf16' if self.precision == 'bf16' else 'float32'}"

    @property
    def options(self) -> str:
        """The options of the command line that choose it."""
        return f"--engine {self.engine} --precision {self.precision}"

    def on(self, device: torch.device) -> Computing:
        """Return how another device computes the same: in float32 where it would only emulate bf16."""
        return replace(self, precision="32") if self.precision == "bf16" and not computes_bf16(device) else self


FLOAT32 = Computing()  # the usual one, in which models are trained and scored


def computes_bf16(device: torch.device) -> bool:
    """Return whether the processor or GPU multiplies bf16 numbers itself, without emulating it."""
    import torch  # here: `Computing` is needed where PyTorch is not, and importing it takes seconds

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: Mapping[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # newer than the oldest PyTorch that is allowed
    return device.type == "cpu" and any(capabilities.get(name, False) for name in BF16_INSTRUCTIONS)


def choose_precision(wanted: str, device: torch.device, checked: bool) -> Precision:
    """Return the precision of that name; "auto" is bf16 where the device computes in it and the model was checked.

    Args:
        checked: Whether the model's validation cases came out the same in bf16 (`Bf16Check`).
    Raises:
        UsageError: There is no such precision, or this device does not compute in it.
    """
    if wanted not in PRECISIONS:
        raise UsageError(
            f"there is no precision '{wanted}'.", where="--precision", cure="Use one of auto, 32 and bf16."
        )
    if wanted == "bf16" and not computes_bf16(device):
        raise UsageError(
            f"this machine's {device.type} does not compute in bf16; emulating it would be slower than float32.",
            where="--precision bf16",
            cure="Use --precision auto or 32.",
        )
    if wanted == "bf16" or (wanted == "auto" and checked and computes_bf16(device)):
        return "bf16"
    return "32"
