"""MA-SAM: 3D adapters over stacks of slices in SAM's encoder, and masks at full resolution (Chen et al. 2024)."""

from sautomed.baselines.ma_sam.network import MaSam, build

__all__ = ["MaSam", "build"]
