"""TransUNet: a ResNet, a transformer on its coarsest map, and a decoder with skips (Chen et al. 2021)."""

from sautomed.baselines.transunet.network import TransUNet, build

__all__ = ["TransUNet", "build"]
