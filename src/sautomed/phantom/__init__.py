"""Phantoms: synthetic patients with exact truth, for the demo and for tests.

The rooms: `shapes` and `combine` (solids as signed distances), `grid` (where the voxels lie), `parts` (solids made of
tissue); `torso`, `bones`, `bowel`, `abdomen`, `chest`, `vessels` (anatomy) and `patient` (all of it); `tissues` (how
bright), `render` (paint), `scanner` (blur and noise), `generate` (one case), `write` (a folder).
"""

from sautomed.phantom.generate import KINDS, Kind, PhantomCase, make_phantom
from sautomed.phantom.write import write_phantoms

__all__ = ["KINDS", "Kind", "PhantomCase", "make_phantom", "write_phantoms"]
