"""Slide-SAM: three slices as channels, one organ at a time, boxes propagated from slice to slice (Quan et al. 2023)."""

from sautomed.baselines.slide_sam.build import build, build_empty
from sautomed.baselines.slide_sam.network import SlideSam

__all__ = ["SlideSam", "build", "build_empty"]
