"""Phantoms: synthetic patients with exact labels, for the demo and for tests.

Modules, from geometry to files: `shapes` and `combine` (solids as signed distances), `grid` (voxel positions), `parts`
(solids made of tissue); `torso`, `bones`, `bowel`, `abdomen`, `chest`, `vessels` (anatomy) and `patient` (all parts);
`tissues` (brightness), `render` (painting), `scanner` (blur and noise), `generate` (one case), `write` (a folder).
"""

from sautomed.phantom.generate import KINDS, Kind, PhantomCase, make_phantom
from sautomed.phantom.write import write_phantoms

__all__ = ["KINDS", "Kind", "PhantomCase", "make_phantom", "write_phantoms"]
