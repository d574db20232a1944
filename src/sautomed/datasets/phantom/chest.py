"""Heart, airways, gullet and the great vessels from the arch down to the division of the aorta."""

from __future__ import annotations

from sautomed.datasets.phantom.parts import Dice, Layer, Part
from sautomed.datasets.phantom.shapes import Ellipsoid, Point, Rough, Solid, Tube, Union


def heart(dice: Dice) -> list[Part]:
    """Four chambers in one muscle, in a bag of fat; resting on the diaphragm, its tip to the left."""
    dx, dy, dz = dice.near((0, 0, 0), 3)
    size = dice.size(1, 0.06)

    def chamber(x: float, y: float, z: float, radii: Point, turn: Point = (0, 0, 0)) -> Ellipsoid:
        a, b, c = (r * size for r in radii)
        return Ellipsoid((x + dx, y + dy, z + dz), (a, b, c), turn)

    left = chamber(-44, 52, 126, (34, 46, 33), (0, -14, 38))
    right = chamber(-10, 74, 126, (42, 26, 34), (0, -10, 8))
    atria = [chamber(30, 54, 142, (22, 28, 32)), chamber(-2, 32, 158, (32, 18, 24))]
    shape = Union([left, right, *atria], blend_mm=14)
    pool = [
        chamber(-46, 50, 126, (20, 32, 20), (0, -14, 38)),
        chamber(-12, 76, 126, (34, 18, 27), (0, -10, 8)),
        chamber(30, 54, 142, (19, 24, 28)),
        chamber(-2, 31, 158, (28, 15, 20)),
    ]
    bag = Union([chamber(-24, 62, 124, (74, 54, 42)), chamber(8, 60, 172, (40, 36, 40))], blend_mm=20)
    return [Part("fat", bag), Part("heart", Rough(shape, 0.8), "heart", layers=(Layer("blood", 1.0, Union(pool)),))]


def lung_vessels(dice: Dice) -> list[Part]:
    """The pulmonary trunk and its two arteries; two veins into the left atrium. Unlabelled."""
    trunk: list[Point] = [(-14, 80, 150), (-20, 70, 178), (-22, 52, 194)]
    right: list[Point] = [(-20, 52, 192), (10, 38, 190), (42, 28, 184), (62, 22, 170)]
    left: list[Point] = [(-22, 50, 194), (-40, 28, 198), (-54, 8, 184)]
    parts = [Part("blood", Tube(dice.path(w, 2), r)) for w, r in ((trunk, [14, 14, 12]), (right, [11, 10, 9, 6]))]
    parts.append(Part("blood", Tube(dice.path(left, 2), [11, 10, 7])))
    for side in (-1, 1):
        for z in (164.0, 150.0):
            way: list[Point] = [(side * 22, 30, z), (side * 48, 22, z - 2), (side * 70, 16, z - 14)]
            parts.append(Part("blood", Tube(dice.path(way, 2), [7, 6, 4])))
    return parts


def airways(dice: Dice) -> list[Part]:
    """Trachea with the beginning of both main bronchi, which go on unlabelled."""
    fork = dice.near((3, 36, 206), 3)
    x, y, z = fork
    radius = dice.size(9.5, 0.1)
    trunk: list[Point] = [(1, 30, 340), dice.near((3, 36, 265), 2), fork]
    ways: list[list[Point]] = [
        [fork, (x + 16, y - 2, z - 12), (x + 34, y - 8, z - 24), (x + 52, y - 14, z - 44)],
        [fork, (x - 18, y - 3, z - 11), (x - 40, y - 10, z - 24), (x - 58, y - 18, z - 46)],
    ]
    girths = [[8, 7.5, 7, 4.5], [7.5, 7, 6.5, 4]]
    far = [Tube(w[1:], g[1:]) for w, g in zip(ways, girths, strict=True)]
    near = [Tube(w[:2], g[:2]) for w, g in zip(ways, girths, strict=True)]
    trachea = Union([Tube(trunk, [radius] * 3, squash=(1.05, 0.95, 1)), *near], blend_mm=4)
    return [
        *(Part("airway_wall", bronchus, layers=(Layer("gas", 1.5),)) for bronchus in far),
        Part("airway_wall", trachea, "trachea", layers=(Layer("gas", 1.5),), rim_mm=1.0),
    ]


def veins(low: float, dice: Dice) -> list[Part]:
    """Both venae cavae, the brachiocephalic and azygos veins. Only the lower vena cava carries a label."""
    cava = dice.path([(14, 24, low), (15, 24, -50), (16, 27, 0), (18, 31, 45), (17, 32, 85)], 2)
    cava.append((18, 46, 122))
    wide, flat = dice.size(10, 0.12), dice.size(0.85, 0.12)
    girth = [wide * f for f in (0.95, 1, 1, 1.1, 1.2, 1.2)]
    upper: list[Point] = [(28, 50, 160), (28, 48, 200), (30, 40, 250), (44, 28, 285)]
    left: list[Point] = [(29, 42, 244), (0, 56, 252), (-34, 40, 272), (-50, 24, 292)]
    azygos: list[Point] = [(9, 14, 60), (10, 14, 190), (22, 26, 214), (28, 44, 208)]
    parts = [Part("vein", Tube([(14, 24, low + 4), (side * 26, 18, low - 30), (side * 44, 12, low - 80)], [9, 7.5, 7]))
             for side in (-1, 1)]  # fmt: skip
    parts += [Part("upper_vein", Tube(dice.path(w, 2), r)) for w, r in ((upper, [10, 10, 9, 7]), (left, [7, 7, 7, 6]))]
    parts.append(Part("vein", Tube(azygos, [3.5] * 4)))
    return [*parts, Part("cava", Tube(cava, girth, squash=(1.1, flat, 1)), "inferior_vena_cava")]


def aorta(low: float, dice: Dice) -> list[Part]:
    """From the heart over the arch and down to its division at height `low`; branches unlabelled."""
    radius = dice.size(9.5, 0.12)
    sway = dice.around(0, 3)
    rise = dice.path([(0, 58, 152), (14, 62, 182), (12, 56, 212), (-2, 40, 230), (-18, 20, 226)], 2)
    down: list[Point] = [(-26, 6, 200), (-25, 4, 150), (-21, 12, 105), (-14, 24, 60), (-10, 28, 30)]
    down += [(-9 + sway, 29, 0), (-8 + sway, 29, -50), (-6, 26, low)]
    girth = [1.6, 1.65, 1.55, 1.45, 1.35, 1.3, 1.25, 1.2, 1.12, 1.05, 1, 0.92, 0.85]
    parts: list[Part] = []
    for side in (1, -1):
        iliac: list[Point] = [(-6, 26, low + 2), (-6 + side * 14, 28, low - 18), (side * 40, 24, low - 70)]
        parts.append(Part("artery", Tube(iliac, [6.5, 5.5, 5])))
    for start, end, girth_mm in (((8, 48, 228), (26, 30, 285), 6.0), ((-4, 40, 230), (-16, 32, 290), 4.0),
                                 ((-14, 28, 228), (-34, 14, 285), 5.0)):  # fmt: skip
        parts.append(Part("artery", Tube([start, dice.near(end, 3)], [girth_mm + 1, girth_mm])))
    return [*parts, Part("artery", Tube([*rise, *down], [radius * g for g in girth]), "aorta")]


def esophagus(dice: Dice) -> list[Part]:
    """Behind the trachea, then in front of the aorta, through the diaphragm and to the left into the stomach."""
    way = dice.path([(-5, 19, 340), (-6, 21, 280), (-7, 22, 230), (-4, 24, 190), (-6, 26, 150), (-14, 32, 112)], 2)
    way += [dice.near((-25, 37, 86), 2), (-40, 26, 74)]
    radius = dice.size(8.5, 0.12)
    girth = [radius * f for f in (0.85, 0.9, 0.95, 1, 1, 0.95, 1, 1.1)]
    gas: list[Solid] = []
    for start in way[1:5]:
        if dice.chance(0.4):
            x, y, z = start
            gas.append(Ellipsoid((x, y + 1, z), (3.2, 2.6, dice.between(8, 25))))
    layers = (Layer("gas", 2.0, Union(gas)),) if gas else ()
    return [Part("esophagus", Tube(way, girth, squash=(1.15, 0.85, 1)), "esophagus", layers, rim_mm=0.8)]


def portal_veins(spleen_at: Point, dice: Dice) -> list[Part]:
    """From the spleen behind the pancreas to the confluence, then up to the gate of the liver."""
    meeting = dice.near((10, 50, -8), 2)
    hilum = (spleen_at[0] + 16, spleen_at[1] + 10, spleen_at[2])
    wide = dice.size(6.8)
    from_spleen = [hilum, *dice.path([(-54, 28, 18), (-22, 47, 5)], 2), meeting]
    to_liver = [meeting, *dice.path([(21, 50, 6), (35, 50, 22)], 2)]
    both = Union([Tube(from_spleen, [3, 4, 4.5, 5.5]), Tube(to_liver, [wide, wide, wide * 0.9])])
    return [Part("vein", both, "portal_and_splenic_vein")]


def mesenteric_vessels(dice: Dice) -> list[Part]:
    """Celiac, splenic and superior mesenteric vessels: as bright as labelled ones, close to them, and not labelled."""
    ways: tuple[tuple[list[Point], float], ...] = (
        ([(-9, 34, 16), (-8, 48, 18), (10, 54, 22), (34, 52, 22)], 3.2),
        ([(-8, 48, 18), (-30, 44, 25), (-58, 24, 31), (-76, 8, 28)], 2.8),
        ([(-9, 36, 2), (-6, 50, -16), (-4, 56, -60), (8, 60, -140)], 3.4),
    )
    vein: list[Point] = [(10, 52, -8), (10, 57, -40), (14, 64, -80), (24, 68, -140)]
    parts = [Part("artery", Tube(dice.path(way, 1.5), [r, r, r * 0.9, r * 0.7])) for way, r in ways]
    fan: list[Solid] = []
    for _ in range(12):
        tip = (dice.between(-85, 80), dice.between(45, 95), dice.between(-190, -50))
        fan.append(Tube([(5, 58, dice.between(-110, -20)), dice.near(((5 + tip[0]) / 2, 66, tip[2] + 15), 8), tip], [2.4, 2, 1.4]))
    return [Part("vein", Union(fan)), *parts, Part("vein", Tube(dice.path(vein, 1.5), [5.5, 5, 4, 3]))]
