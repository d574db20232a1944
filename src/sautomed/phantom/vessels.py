"""The great vessels of the trunk: aorta, lower vena cava, portal and mesenteric vessels."""

from __future__ import annotations

from sautomed.phantom.combine import Union
from sautomed.phantom.parts import Part, Variation
from sautomed.phantom.shapes import Point, Solid, Tube


def aorta(low: float, vary: Variation) -> list[Part]:
    """Aorta from the heart over the arch to its bifurcation at height `low`; branches are unlabelled."""
    radius = vary.size(9.5, 0.12)
    sway = vary.around(0, 3)
    rise = vary.path([(0, 58, 152), (14, 62, 182), (11, 58, 212), (-12, 50, 230), (-27, 26, 228)], 2)
    down: list[Point] = [(-28, 8, 204), (-25, 4, 150), (-21, 12, 105), (-14, 24, 60), (-10, 28, 30)]
    down += [(-9 + sway, 29, 0), (-8 + sway, 29, -50), (-6, 26, low)]
    girth = [1.6, 1.65, 1.55, 1.45, 1.35, 1.3, 1.25, 1.2, 1.12, 1.05, 1, 0.92, 0.85]
    parts: list[Part] = []
    for side in (1, -1):
        iliac: list[Point] = [(-6, 26, low + 2), (-6 + side * 14, 28, low - 18), (side * 40, 24, low - 70)]
        parts.append(Part("artery", Tube(iliac, [6.5, 5.5, 5])))
    for start, end, girth_mm in (((4, 54, 226), (26, 30, 285), 6.0), ((-10, 48, 230), (-16, 32, 290), 4.0),
                                 ((-22, 34, 230), (-34, 14, 285), 5.0)):  # fmt: skip
        parts.append(Part("artery", Tube([start, vary.near(end, 3)], [girth_mm + 1, girth_mm])))
    return [*parts, Part("artery", Tube([*rise, *down], [radius * g for g in girth]), "aorta")]


def lower_cava(low: float, vary: Variation) -> list[Part]:
    """Vena cava from the junction of the iliac veins at height `low`, behind and through the liver, to the heart."""
    way = vary.path([(14, 24, low), (15, 24, -50), (16, 27, 0), (18, 31, 45), (17, 32, 85)], 2)
    way.append((18, 46, 122))
    wide, flat = vary.size(10, 0.12), vary.size(0.85, 0.12)
    girth = [wide * f for f in (0.95, 1, 1, 1.1, 1.2, 1.2)]
    parts: list[Part] = []
    for side in (-1, 1):
        iliac: list[Point] = [(14, 24, low + 4), (side * 26, 18, low - 30), (side * 44, 12, low - 80)]
        parts.append(Part("vein", Tube(iliac, [9, 7.5, 7])))
    return [*parts, Part("cava", Tube(way, girth, squash=(1.1, flat, 1)), "inferior_vena_cava")]


def portal_veins(spleen_at: Point, vary: Variation) -> list[Part]:
    """Veins from the spleen behind the pancreas to the confluence, then up to the gate of the liver."""
    meeting = vary.near((10, 50, -8), 2)
    hilum = (spleen_at[0] + 16, spleen_at[1] + 10, spleen_at[2])
    wide = vary.size(7.4)
    from_spleen = [hilum, *vary.path([(-54, 28, 18), (-22, 47, 5)], 2), meeting]
    to_liver = [meeting, *vary.path([(21, 50, 6), (35, 50, 22)], 2)]
    both = Union([Tube(from_spleen, [3.5, 4.5, 5, 6]), Tube(to_liver, [wide, wide, wide * 0.9])])
    return [Part("vein", both, "portal_and_splenic_vein")]


def mesenteric_vessels(vary: Variation) -> list[Part]:
    """Celiac, splenic and superior mesenteric vessels: near labelled vessels and as bright, but not labelled."""
    ways: tuple[tuple[list[Point], float], ...] = (
        ([(-9, 34, 16), (-8, 48, 18), (10, 54, 22), (34, 52, 22)], 3.2),
        ([(-8, 48, 18), (-30, 44, 25), (-58, 24, 31), (-76, 8, 28)], 2.8),
        ([(-9, 36, 2), (-6, 50, -16), (-4, 56, -60), (8, 60, -140)], 3.4),
    )
    vein: list[Point] = [(10, 52, -8), (10, 57, -40), (14, 64, -80), (24, 68, -140)]
    parts = [Part("artery", Tube(vary.path(way, 1.5), [r, r, r * 0.9, r * 0.7])) for way, r in ways]
    fan: list[Solid] = []
    for _ in range(12):
        tip = (vary.between(-85, 80), vary.between(45, 95), vary.between(-190, -50))
        middle = vary.near(((5 + tip[0]) / 2, 66, tip[2] + 15), 8)
        fan.append(Tube([(5, 58, vary.between(-110, -20)), middle, tip], [2.4, 2, 1.4]))
    return [Part("vein", Union(fan)), *parts, Part("vein", Tube(vary.path(vein, 1.5), [5.5, 5, 4, 3]))]
