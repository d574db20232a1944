"""Surroundings of the organs of a trunk: skin, fat, muscle, diaphragm, lungs. None is labelled.

Heights: 0 is the middle of the first lumbar vertebra, whose front is at y = 17.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sautomed.phantom.combine import Difference, Grown, Intersection, Union
from sautomed.phantom.parts import Layer, Part, Variation
from sautomed.phantom.shapes import Barrel, Ellipsoid, HalfSpace, Point, Seams, Solid, Tube

Level = tuple[float, float, float, float]
# Section of the cavity inside the muscles: (z, half width, half depth, centre y).
CAVITY: tuple[Level, ...] = (
    (-220, 118, 72, 34), (-90, 116, 76, 34), (-20, 122, 82, 33), (60, 126, 88, 28), (150, 124, 90, 20),
    (200, 114, 82, 12), (240, 96, 70, 4), (275, 70, 54, -4), (300, 42, 38, -8), (330, 30, 32, -8),
)  # fmt: skip
# Added to the section of the muscles for the shoulders: (z, half width, half depth).
SHOULDERS = ((150.0, 0.0, 0.0), (190, 14, 5), (240, 66, 12), (275, 98, 16), (300, 108, 18), (330, 70, 20))


@dataclass(frozen=True)
class Build:
    """Thickness of muscle and fat around the organs; mm."""

    wall: float  # muscles
    side: float  # fat under the skin
    back: float
    front: float

    @classmethod
    def draw(cls, vary: Variation) -> Build:
        """Draw a build between slender and stout."""
        stout = vary.between(0.3, 1.5)
        return cls(vary.size(12, 0.15), 18 * stout, 15 * stout, vary.size(16, 0.2) * stout)

    def cavity(self, by_mm: float = 0.0) -> Barrel:
        """Return the cavity inside the muscles, grown by `by_mm`."""
        return Barrel([(z, a + by_mm, b + by_mm, c) for z, a, b, c in CAVITY])

    def skin(self, under_mm: float = 0.0) -> Barrel:
        """Return the body, or its part deeper than `under_mm`."""
        out = [self._muscle_level(level) for level in CAVITY]
        fat, shift = (self.front + self.back) / 2, (self.front - self.back) / 2
        return Barrel([(z, a + self.side - under_mm, b + 9 + fat - under_mm, c - 9 + shift) for z, a, b, c in out])

    def muscle(self) -> Barrel:
        """Return the body under the subcutaneous fat, without the muscles of the back."""
        return Barrel([self._muscle_level(level) for level in CAVITY])

    def back_mm(self) -> float:
        """Return y of the skin of the back at the first lumbar vertebra."""
        return min(c - b for _, _, b, c in self.skin().levels)

    def _muscle_level(self, level: Level) -> Level:
        z, a, b, c = level
        wide, deep = 0.0, 0.0
        for (z0, a0, b0), (z1, a1, b1) in pairwise(SHOULDERS):
            if z0 <= z <= z1:
                share = (z - z0) / (z1 - z0)
                wide, deep = a0 + share * (a1 - a0), b0 + share * (b1 - b0)
        return z, a + self.wall + wide, b + self.wall + deep, c


def wall(build: Build, cavity: Solid, vary: Variation) -> list[Part]:
    """The table, skin, the fat under it, the muscles of the wall, and the fat inside them."""
    table = Ellipsoid((0, build.back_mm() - 22, 50), (215, 16, 4000))
    seams = Intersection(Seams(1.2), HalfSpace((0, 0, 165), (0, 0, -1)))  # between the many muscles of the shoulders
    parts = [Part("table", table, layers=(Layer("foam", 2.5),))]
    parts.append(Part("skin", build.skin(), layers=(Layer("fat", 2.2),)))
    parts.append(Part("muscle", build.muscle(), layers=(Layer("fat", 4.0, seams),)))
    return [*parts, Part("fat", cavity)]


def back_muscles(side: int, vary: Variation) -> list[Part]:
    """Muscles beside, behind and in front of the spine; `side` 1 is right."""
    thick = vary.size(1, 0.1)
    erector: list[Point] = [(side * 34, -58, -220), (side * 35, -60, -60), (side * 31, -69, 40), (side * 25, -82, 160)]
    erector += [(side * 22, -80, 240), (side * 20, -62, 330)]
    square: list[Point] = [(side * 66, -28, -130), (side * 62, -32, -60), (side * 48, -34, 5)]
    psoas: list[Point] = [(side * 50, 12, -190), (side * 43, 6, -110), (side * 35, 0, -50), (side * 27, -2, 22)]
    girth = [27 * thick, 26 * thick, 23 * thick, 16, 14, 13]
    return [
        Part("muscle", Tube(erector, girth, squash=(1.2, 0.85, 1)), rim_mm=2.0),
        Part("muscle", Tube(square, [16, 14, 6], squash=(1.3, 0.8, 1))),
        Part("muscle", Tube(vary.path(psoas, 2), [vary.size(25), vary.size(21), vary.size(16), 6])),
    ]


def domes(vary: Variation) -> Solid:
    """Return the space under the diaphragm: the right dome higher than the left, a dent for the heart between them."""
    lift = vary.between(-10, 10)
    right = Ellipsoid((62, 30, 8 + lift), (70, 92, vary.size(102, 0.04)))
    left = Ellipsoid((-62, 26, 4 + lift), (68, 88, vary.size(88, 0.05)))
    middle = Ellipsoid((0, 45, 5 + lift), (60, 62, 82))
    floor = Barrel([(0, 150, 130, 20)], high=vary.between(2, 18))  # the recess behind the diaphragm ends here
    return Union([right, left, middle, floor], blend_mm=25)


def diaphragm(cavity: Solid, below: Solid, vary: Variation) -> list[Part]:
    """Muscle over `below`, fat under it, and two pillars beside the aorta."""
    roof = Intersection(cavity, Grown(below, 3.0))
    right: list[Point] = [(10, 19, -60), (13, 20, -10), (14, 22, 30), (10, 34, 62)]
    left: list[Point] = [(-20, 17, -45), (-25, 18, -5), (-25, 20, 35), (-24, 32, 65)]
    pillars = [Part("muscle", Tube(vary.path(p, 1.5), [2.5, 5, 6, 4], squash=(0.8, 1.3, 1))) for p in (right, left)]
    return [Part("muscle", roof, layers=(Layer("fat", 3.0),)), *pillars]


def lungs(cavity: Solid, below: Solid, vary: Variation) -> list[Part]:
    """Both lungs, from the apex to the recess behind the diaphragm, with vessels from the hilum."""
    between = Intersection(HalfSpace((15, 0, 0), (1, 0, 0)), HalfSpace((-15, 0, 0), (-1, 0, 0)))
    neck = HalfSpace((0, 0, vary.between(285, 305)), (0, 0, -1))
    chest = Difference(Difference(Grown(cavity, -2.0), between, blend_mm=14), neck, blend_mm=20)
    space = Difference(chest, Grown(below, 3.0), blend_mm=6)
    vessels: list[Solid] = []
    for side in (-1, 1):
        for _ in range(16):
            tip = (side * vary.between(50, 112), vary.between(-50, 95), vary.between(40, 290))
            middle = (side * vary.between(44, 62), (15 + tip[1]) / 2, (185 + 1.2 * tip[2]) / 2.2)
            vessels.append(Tube([(side * 30, 22, 188), middle, tip], [6, 3.2, 0.8]))
    return [Part("lung", space, layers=(Layer("pulmonary_vessel", 1.0, Union(vessels)),))]
