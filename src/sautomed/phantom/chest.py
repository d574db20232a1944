"""Heart, lung vessels, airways and gullet."""

from __future__ import annotations

from sautomed.phantom.combine import Rough, Union
from sautomed.phantom.parts import Layer, Part, Variation
from sautomed.phantom.shapes import Ellipsoid, Point, Solid, Tube


def heart(vary: Variation) -> tuple[Part, Part]:
    """Fat around the heart, and the heart: four chambers in one muscle, on the diaphragm, tip to the left."""
    dx, dy, dz = vary.near((0, 0, 0), 3)
    size = vary.size(1, 0.06)

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
    muscle = Part("heart", Rough(shape, 0.8), "heart", layers=(Layer("blood", 1.0, Union(pool)),))
    return Part("fat", bag), muscle


def lung_vessels(vary: Variation) -> list[Part]:
    """The pulmonary trunk and its two arteries; two veins into the left atrium. Unlabelled."""
    trunk: list[Point] = [(-14, 80, 150), (-20, 70, 178), (-22, 52, 194)]
    right: list[Point] = [(-20, 52, 192), (10, 38, 190), (42, 28, 184), (62, 22, 170)]
    left: list[Point] = [(-22, 50, 194), (-40, 28, 198), (-54, 8, 184)]
    parts = [Part("blood", Tube(vary.path(w, 2), r)) for w, r in ((trunk, [14, 14, 12]), (right, [11, 10, 9, 6]))]
    parts.append(Part("blood", Tube(vary.path(left, 2), [11, 10, 7])))
    for side in (-1, 1):
        for z in (164.0, 150.0):
            way: list[Point] = [(side * 22, 30, z), (side * 48, 22, z - 2), (side * 70, 16, z - 14)]
            parts.append(Part("blood", Tube(vary.path(way, 2), [7, 6, 4])))
    return parts


def upper_veins(vary: Variation) -> list[Part]:
    """Upper vena cava, left brachiocephalic and azygos veins. Unlabelled."""
    cava: list[Point] = [(28, 50, 150), (28, 48, 200), (30, 40, 250), (44, 28, 285)]
    left: list[Point] = [(29, 42, 244), (0, 58, 256), (-34, 40, 274), (-50, 24, 292)]
    azygos: list[Point] = [(9, 14, 60), (10, 14, 190), (24, 22, 214), (28, 44, 208)]
    wide = [Part("upper_vein", Tube(vary.path(w, 2), r)) for w, r in ((cava, [10, 10, 9, 7]), (left, [7, 7, 7, 6]))]
    return [*wide, Part("vein", Tube(azygos, [3.5] * 4))]


def airways(vary: Variation) -> list[Part]:
    """Trachea with the start of both main bronchi; the rest of the bronchi is unlabelled."""
    fork = vary.near((6, 34, 206), 2)
    x, y, z = fork
    radius = vary.size(9.5, 0.1)
    trunk: list[Point] = [(1, 30, 340), vary.near((5, 35, 265), 2), fork]
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


def esophagus(vary: Variation) -> list[Part]:
    """Behind the trachea, then in front of the aorta, through the diaphragm and to the left into the stomach."""
    way = vary.path([(-5, 19, 340), (-6, 21, 280), (-7, 22, 230), (-4, 24, 190), (-6, 26, 150), (-14, 32, 112)], 2)
    way += [vary.near((-25, 37, 90), 2), (-33, 31, 80)]
    radius = vary.size(8.5, 0.12)
    girth = [radius * f for f in (0.85, 0.9, 0.95, 1, 1, 0.95, 1, 1.1)]
    gas: list[Solid] = []
    for start in way[1:5]:
        if vary.chance(0.4):
            x, y, z = start
            gas.append(Ellipsoid((x, y + 1, z), (3.2, 2.6, vary.between(8, 25))))
    layers = (Layer("gas", 2.0, Union(gas)),) if gas else ()
    return [Part("esophagus", Tube(way, girth, squash=(1.15, 0.85, 1)), "esophagus", layers, rim_mm=0.8)]
