"""The systems that 3D-SAutoMed is compared with, and the table MODELS of all systems."""

from sautomed.baselines.models import MODELS, System, build_empty_segmenter, build_segmenter

__all__ = ["MODELS", "System", "build_empty_segmenter", "build_segmenter"]
