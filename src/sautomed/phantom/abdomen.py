"""The solid organs of the upper abdomen.

Coordinates are those of the reference patient (see `torso`): x to the right, y to the front, z to the head; mm.
"""

from __future__ import annotations

import numpy as np

from sautomed.phantom.combine import Difference, Grown, Intersection, Rough, Union
from sautomed.phantom.parts import Layer, Part, Variation
from sautomed.phantom.shapes import Ellipsoid, Point, Solid, Tube


def liver(room: Solid, vary: Variation) -> list[Part]:
    """Right lobe against the ribs, left lobe across the midline, concave below and around the right kidney.

    Vessels and lesions inside it carry its label.

    Args:
        room: The space under the diaphragm.
    """
    right = Ellipsoid(vary.near((70, 28, 24), 4), vary.sizes((60, 81, 102), 0.05), turn=(0, -8, -8))
    left = Ellipsoid(vary.near((-6, 74, 48), 5), vary.sizes((78, 29, 33), 0.12), turn=(0, 14, 10))
    tail = Ellipsoid((14, 34, 40), (18, 13, 26))
    under = Ellipsoid(vary.near((-4, 42, -58), 5), (58, 62, 78), turn=(0, -18, 0))
    bed = Ellipsoid((56, -22, -38), vary.sizes((42, 42, 60), 0.06), turn=(14, 12, 0))
    gap = Ellipsoid((12, 2, 30), (22, 18, 36))
    fissure = Ellipsoid(vary.near((-6, 96, 6), 4), (3.5, 30, 30), turn=(0, 0, 12))
    body = Difference(Union([right, left, tail], blend_mm=22), Union([under, bed, gap], blend_mm=8), blend_mm=10)
    shape = Intersection(Difference(body, fissure, blend_mm=3), Grown(room, -0.8), blend_mm=8)
    layers = [Layer("liver_vessel", 1.0, Union(_liver_vessels(vary)))]
    if vary.chance(0.3):
        place = (vary.between(20, 105), vary.between(-10, 90), vary.between(-20, 80))
        spot = Rough(Ellipsoid(place, vary.sizes((8, 8, 8), 0.35)), 1.0)
        layers.append(Layer("cyst" if vary.chance(0.4) else "lesion", 1.0, spot))
    return [Part("liver", shape, "liver", tuple(layers))]


def _liver_vessels(vary: Variation) -> list[Solid]:
    """Portal branches from the gate of the liver, and veins to the vena cava."""
    gate, outlet = np.array([34.0, 50, 22]), np.array([17.0, 28, 84])
    portal = (
        (104, 20, 10),
        (108, 64, 36),
        (84, 0, 56),
        (92, 82, 0),
        (84, 40, -36),
        (12, 90, 50),
        (-36, 88, 52),
        (74, 70, 70),
    )
    hepatic = ((104, 6, 46), (76, 76, 42), (16, 90, 62), (94, 40, 24))
    tubes: list[Solid] = []
    for root, tips, straight in ((gate, portal, 0.5), (outlet, hepatic, 0.4)):
        for tip in tips:
            x, y, z = straight * root + (1 - straight) * np.array(tip)
            way = [(float(root[0]), float(root[1]), float(root[2])), vary.near((x, y, z), 7), vary.near(tip, 8)]
            tubes.append(Tube(way, [5.5, 3.4, 1.2], pieces=3))
    return tubes


def gallbladder(vary: Variation) -> list[Part]:
    """A pear under the liver, its neck towards the gate."""
    wide = vary.size(14, 0.2)
    way = vary.path([(36, 58, 4), (45, 72, -10), (52, 86, -27)], 3)
    tube = Tube(way, [5, 0.8 * wide, wide], squash=(0.9, 1, 1))
    return [Part("gall_wall", tube, "gallbladder", layers=(Layer("bile", 1.5),))]


def spleen(room: Solid, centre: Point, vary: Variation) -> list[Part]:
    """Behind the stomach, concave towards it and towards the left kidney."""
    x, y, z = centre
    size = vary.size(1, 0.1)
    whole = Ellipsoid(centre, vary.sizes((30 * size, 50 * size, 52 * size)), turn=(-18, 6, 24))
    hilum = Ellipsoid((x + 36, y + 16, z - 4), (30, 40, 60), turn=(0, 0, 24))
    shape = Intersection(Difference(whole, hilum, blend_mm=10), Grown(room, -1.2), blend_mm=8)
    return [Part("spleen", Rough(shape, 0.8), "spleen", rim_mm=vary.between(-2, 3))]


def pancreas(vary: Variation) -> list[Part]:
    """Head in the bend of the duodenum, body over the spine, tail to the spleen; lobed, with fat in between."""
    way = vary.path([(24, 42, -42), (28, 46, -24), (8, 58, -8), (-22, 58, 5), (-50, 38, 15), (-74, 20, 22)], 3)
    size = vary.size(1, 0.12)
    radii = [9 * size, 15.5 * size, 9.5 * size, 11 * size, 11.5 * size, 8.5 * size]
    tube = Rough(Tube(way, radii, squash=(1, 0.85, 1.15)), vary.between(1.2, 2.4))
    return [Part("pancreas", tube, "pancreas", rim_mm=vary.between(-1, 1.5))]


def kidney(side: int, vary: Variation) -> list[Part]:
    """Kidney, its upper pole nearer to the spine; fat and pelvis in its sinus are unlabelled. `side` 1 is right."""
    x, y, z = vary.near((66 * side, -3, -36 if side > 0 else -24), 5)
    size = vary.size(1, 0.07)
    turn = (vary.size(12), 12 * side, 32 * side)
    whole = Ellipsoid((x, y, z), (28 * size, 26 * size, 53 * size), turn=turn)
    hilum = Ellipsoid((x - side * 25, y + 13, z), (18, 10, 16), turn=turn)
    sinus = Rough(Ellipsoid((x - side * 10, y + 5, z), (14, 8, 22), turn=turn), 2.0)
    pelvis = [(x - side * 2, y + 2, z + 8), (x - side * 16, y + 9, z - 2), (x - side * 25, y + 8, z - 30)]
    layers = [
        Layer("medulla", vary.size(7.5), Rough(whole, 4.0)),
        Layer("fat", 0.0, sinus, unlabelled=True),
        Layer("urine", 0.0, Tube(pelvis, [4, 4.5, 2.5]), unlabelled=True),
    ]
    if vary.chance(0.2):
        place = (x + side * vary.between(5, 22), y - vary.between(0, 15), z + vary.between(-35, 35))
        layers.append(Layer("cyst", 0.5, Ellipsoid(place, vary.sizes((7, 7, 7), 0.4))))
    shape = Rough(Difference(whole, hilum, blend_mm=8), 0.7)
    name = "right_kidney" if side > 0 else "left_kidney"
    hilar = (x - side * 13, y + 9, z + 3)
    return [Part("cortex", shape, name, tuple(layers), rim_mm=vary.between(0, 6)), *_renal_vessels(side, hilar, vary)]


def _renal_vessels(side: int, hilar: Point, vary: Variation) -> list[Part]:
    z = hilar[2]
    vein = [hilar, (32.0, 24.0, z + 4), (15.0, 28.0, z + 8)]
    if side < 0:
        vein = [hilar, (-34.0, 28.0, z + 6), (-8.0, 45.0, z + 6), (12.0, 32.0, z + 4)]  # in front of the aorta
    artery = [(hilar[0], hilar[1] - 3, z + 5), (side * 32.0, 12.0, z + 10), (-8.0, 26.0, z + 14)]
    ureter = [(hilar[0] - side * 8, hilar[1], z - 30), (side * 38.0, 18.0, z - 70), (side * 36.0, 26.0, -160.0)]
    return [
        Part("vein", Tube(vein, [4.0, 5.0, 4.5, 4.0][: len(vein)])),
        Part("artery", Tube(artery, [2.5, 3, 3])),
        Part("urine", Tube(ureter, [2.2] * 3)),
    ]


def adrenals(vary: Variation) -> list[Part]:
    """Two thin limbs each: the right gland behind the vena cava, the left one beside the aorta."""
    parts: list[Part] = []
    for name, place, angles in (
        ("right_adrenal_gland", vary.near((28, 8, 24), 2.5), (-8.0, -52.0)),
        ("left_adrenal_gland", vary.near((-38, 14, 20), 2.5), (28.0, -26.0)),
    ):
        thick = vary.size(2.9, 0.12)
        limbs: list[Solid] = []
        for angle in angles:
            turn = vary.around(angle, 5)
            reach = vary.size(11.5)
            x = place[0] + 0.7 * reach * float(np.sin(np.radians(turn)))
            y = place[1] - 0.7 * reach * float(np.cos(np.radians(turn)))
            limbs.append(Ellipsoid((x, y, place[2]), (thick, reach, vary.size(14)), turn=(0, 0, turn)))
        gland = Rough(Union(limbs, blend_mm=2), 0.5)
        parts.append(Part("adrenal", gland, name, rim_mm=1.5))
    return parts
