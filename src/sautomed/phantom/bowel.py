"""Stomach and bowel: hollow organs with a wall, contents and gas on top. Only the stomach carries a label."""

from __future__ import annotations

from sautomed.phantom.combine import Grown, Intersection, Rough
from sautomed.phantom.parts import Layer, Part, Variation
from sautomed.phantom.shapes import HalfSpace, Point, Solid, Tube


def stomach(room: Solid, vary: Variation) -> list[Part]:
    """Fundus under the left dome, body, antrum to the right, pylorus."""
    full = vary.size(1, 0.18)
    way = vary.path([(-46, 14, 80), (-62, 30, 62), (-66, 58, 30), (-36, 82, 0), (2, 80, -8), (22, 68, -6)], 4)
    radii = [24 * full, 31 * full, 28 * full, 21 * full, 16, 9]
    tube = Rough(Intersection(Tube(way, radii), Grown(room, -1.5), blend_mm=6), 1.2)
    content = "oral_contrast" if vary.chance(0.3) else "chyme"
    return [
        _filled(tube, "stomach", content, vary.between(3, 5), _gas_space(vary, 45, 95), vary.between(-2, 3), "stomach")
    ]


def duodenum(vary: Variation) -> list[Part]:
    """A C around the head of the pancreas that crosses below it to the left."""
    way = vary.path([(22, 68, -6), (44, 58, -12), (54, 44, -38), (44, 38, -66), (6, 46, -76), (-28, 46, -60)], 3)
    tube = Rough(Tube(way, [9, 11, 12, 12, 11, 12]), 1.5)
    return [_filled(tube, "bowel", "chyme", 3.5, _gas_space(vary, 40, 90), vary.between(-1, 2))]


def colon(cavity: Solid, vary: Variation) -> list[Part]:
    """Ascending, transverse and descending, with stool."""
    right: list[Point] = [(92, 26, -230), (94, 24, -130), (88, 42, -80)]
    across: list[Point] = [(80, 58, -66), (40, 90, -70), (-20, 92, -66), (-70, 78, -24), (-96, 44, 14)]
    left: list[Point] = [(-98, 26, 14), (-104, 14, -50), (-104, 16, -130), (-96, 28, -230)]
    parts = []
    for way, radius in ((right, 24.0), (across, 19.0), (left, 15.0)):
        tube = Tube(vary.path(way, 6), [vary.size(radius, 0.15) for _ in way])
        shape = Rough(Intersection(tube, cavity), 2.4)
        parts.append(_filled(shape, "bowel", "stool", 2.6, _gas_space(vary, 35, 95), vary.between(-1, 3)))
    return parts


def small_bowel(cavity: Solid, vary: Variation) -> list[Part]:
    """Loops in the middle and lower abdomen, and some on the left up to the stomach."""
    parts = []
    front = Intersection(cavity, HalfSpace((0, 34, 0), (0, -1, 0)))  # the kidneys, the spine and its vessels lie behind
    for _ in range(18):
        centre = (vary.between(-78, 72), vary.between(48, 92), vary.between(-210, -58))
        if vary.chance(0.3):
            centre = (vary.between(-85, -35), vary.between(40, 85), vary.between(-80, -25))
        way = [vary.near(centre, 20) for _ in range(4)]
        tube = Tube(way, [vary.size(11.5, 0.15)] * len(way))
        content = "oral_contrast" if vary.chance(0.1) else "chyme"
        shape = Rough(Intersection(tube, front, blend_mm=6), 1.2)
        parts.append(_filled(shape, "bowel", content, 3.2, _gas_space(vary, 70, 140), vary.between(-1, 2)))
    return parts


def _gas_space(vary: Variation, low: float, high: float) -> Solid:
    """Return the space of the gas: in front of a horizontal plane, since the patient lies supine."""
    return HalfSpace((0, vary.between(low, high), 0), (0, -1, 0))


def _filled(
    solid: Solid, wall: str, content: str, wall_mm: float, gas: Solid, rim_mm: float, structure: str | None = None
) -> Part:
    layers = (Layer(content, wall_mm), Layer("gas", wall_mm, gas))
    return Part(wall, solid, structure, layers, rim_mm)
