"""One whole patient: every part of a trunk, in painting order.

All kinds of phantom scan the same patient; they differ in field of view, brightness and labels. Where parts overlap,
the later one gets the voxel. The order is: bowel, stomach, liver, gallbladder, spleen, pancreas, kidneys, adrenal
glands, unlabelled vessels, portal and splenic vein, heart, inferior vena cava, aorta, trachea, esophagus.
"""

from __future__ import annotations

from sautomed.phantom import abdomen, bones, bowel, chest, torso, vessels
from sautomed.phantom.combine import Cached, Intersection
from sautomed.phantom.parts import Part, Variation

WITHOUT_GALLBLADDER = 0.15  # ours: share of patients
WITHOUT_ONE_KIDNEY = 0.05  # ours: more than in real patients, so that a model sees some


def make_patient(vary: Variation) -> list[Part]:
    """Draw a random patient."""
    build = torso.Build.draw(vary)
    below, cavity = Cached(torso.domes(vary)), Cached(build.cavity())
    room = Intersection(cavity, below, blend_mm=6)
    parts = torso.wall(build, cavity, vary) + torso.lungs(cavity, below, vary) + torso.diaphragm(cavity, below, vary)
    parts += torso.back_muscles(-1, vary) + torso.back_muscles(1, vary)
    parts += bones.skeleton(build, vary)
    parts += bowel.small_bowel(cavity, vary) + bowel.colon(cavity, vary) + bowel.duodenum(vary)
    spleen_at = vary.near((-94, -2, 22), 5)
    parts += bowel.stomach(room, vary) + abdomen.liver(room, vary)
    if not vary.chance(WITHOUT_GALLBLADDER):
        parts += abdomen.gallbladder(vary)
    parts += abdomen.spleen(room, spleen_at, vary) + abdomen.pancreas(vary)
    lost = 0 if not vary.chance(WITHOUT_ONE_KIDNEY) else (1 if vary.chance(0.5) else -1)
    for side in (1, -1):
        if side != lost:
            parts += abdomen.kidney(side, vary)
    low = vary.between(-112, -92)
    parts += abdomen.adrenals(vary) + vessels.mesenteric_vessels(vary) + vessels.portal_veins(spleen_at, vary)
    bag, heart = chest.heart(vary)
    parts += [bag, *chest.lung_vessels(vary), *chest.upper_veins(vary), heart]
    parts += vessels.lower_cava(low, vary) + vessels.aorta(low, vary)
    return parts + chest.airways(vary) + chest.esophagus(vary)
