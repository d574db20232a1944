"""OpenVINO's package, imported without its telemetry."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

from sautomed.errors import PackageMissing

_TELEMETRY = "openvino_telemetry"  # sends an event with every import; without it OpenVINO takes a stub of its own


def is_installed() -> bool:
    """Return whether the extra [openvino] is installed."""
    return find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """Import OpenVINO, and hide its telemetry from it.

    Raises:
        PackageMissing: It is not installed.
    """
    if not is_installed():
        raise PackageMissing(
            "OpenVINO is not installed.",
            where="--engine openvino",
            cure='Install it with: pip install "sautomed[openvino]"; or use --engine torch.',
        )
    if "openvino" not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # Python's mark of a module that is not to be found
    import openvino

    return openvino
