"""Slide-SAM: three slices as channels, an organ at a time, one box passed on to both ends (Quan et al. 2023)."""

from sautomed.baselines.slide_sam.network import SlideSam, build, build_empty

__all__ = ["SlideSam", "build", "build_empty"]
