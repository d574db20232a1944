"""The method, part by part. `load_sam` loads SAM itself, for baselines and comparisons with the official code."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sautomed.model.sam.network import load_sam

__all__ = ["load_sam"]


def __getattr__(name: str) -> Any:
    """Import transformers with the first use."""
    if name == "load_sam":
        from sautomed.model.sam.network import load_sam

        return load_sam
    raise AttributeError(f"module 'sautomed.model' has no attribute '{name}'")
