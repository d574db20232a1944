"""One whole patient: every part of a trunk, in painting order.

All kinds of phantom scan the same patient; they differ in field of view, in brightness and in what is labelled.
From weakest to strongest claim on a shared voxel: bowel, stomach, liver, gallbladder, spleen, pancreas, kidneys,
adrenal glands, unlabelled vessels, portal and splenic vein, heart, inferior vena cava, aorta, trachea, esophagus.
"""

from __future__ import annotations

from sautomed.phantom import abdomen, bones, bowel, chest, torso, vessels
from sautomed.phantom.combine import Common, Shared
from sautomed.phantom.parts import Dice, Part

WITHOUT_GALLBLADDER = 0.15  # about one adult in seven or eight of hospital age; ours
WITHOUT_ONE_KIDNEY = 0.05  # ours: rarer in life, but a model should have met it


def make_patient(dice: Dice) -> list[Part]:
    """A patient as the dice fall."""
    build = torso.Build.draw(dice)
    below, hollow = Shared(torso.domes(dice)), Shared(build.hollow())
    room = Common(hollow, below, blend_mm=6)
    parts = torso.wall(build, hollow, dice) + torso.lungs(hollow, below, dice) + torso.diaphragm(hollow, below, dice)
    parts += torso.back_muscles(-1, dice) + torso.back_muscles(1, dice)
    parts += bones.skeleton(build, dice)
    parts += bowel.small_bowel(hollow, dice) + bowel.colon(hollow, dice) + bowel.duodenum(dice)
    spleen_at = dice.near((-94, -2, 22), 5)
    parts += bowel.stomach(room, dice) + abdomen.liver(room, dice)
    if not dice.chance(WITHOUT_GALLBLADDER):
        parts += abdomen.gallbladder(dice)
    parts += abdomen.spleen(room, spleen_at, dice) + abdomen.pancreas(dice)
    lost = 0 if not dice.chance(WITHOUT_ONE_KIDNEY) else (1 if dice.chance(0.5) else -1)
    for side in (1, -1):
        if side != lost:
            parts += abdomen.kidney(side, dice)
    low = dice.between(-112, -92)
    parts += abdomen.adrenals(dice) + vessels.mesenteric_vessels(dice) + vessels.portal_veins(spleen_at, dice)
    bag, heart = chest.heart(dice)
    parts += [bag, *chest.lung_vessels(dice), *chest.upper_veins(dice), heart]
    parts += vessels.lower_cava(low, dice) + vessels.aorta(low, dice)
    return parts + chest.airways(dice) + chest.esophagus(dice)
