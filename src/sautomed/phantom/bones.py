"""The skeleton of the trunk: spine, ribs, breast bone, shoulder blades, collar bones. None of it is labelled."""

from __future__ import annotations

import numpy as np

from sautomed.phantom.combine import Union
from sautomed.phantom.parts import Layer, Part, Variation
from sautomed.phantom.shapes import Barrel, Ellipsoid, Point, Tube
from sautomed.phantom.torso import CAVITY, Build

# (middle, height, half width) of the vertebral bodies from the fifth lumbar to the first thoracic.
VERTEBRAE = (
    (-137.0, 28, 26), (-103, 28, 25), (-68, 28, 24), (-34, 27, 23), (0, 26, 22), (31, 25, 21), (60, 24, 20),
    (87, 23, 19), (113, 22, 18), (138, 21, 17), (162, 20, 16), (185, 20, 16), (207, 19, 15), (229, 19, 15),
    (250, 18, 15), (270, 18, 15), (290, 17, 15),
)  # fmt: skip
TWELFTH = 5  # index of the twelfth thoracic vertebra
BACK_DEG, FRONT_DEG = 14.0, 168.0  # angles at which a rib leaves the spine and its cartilage meets the breast bone


def skeleton(build: Build, vary: Variation) -> list[Part]:
    """All bones of the trunk above the pelvis."""
    return ribs(build, vary) + girdle() + spine(vary)


def spine(vary: Variation) -> list[Part]:
    """Discs, vertebrae, and the canal behind them."""
    low, high = -200.0, 330.0
    column: list[Point] = [(0, -1, low), (0, -1, 0), (0, -1, 180), (0, -1, high)]
    parts = [Part("disc", Tube(column, [21.5, 19, 14, 13], pieces=2, squash=(1.15, 0.85, 1)))]
    parts.append(Part("bone", Tube([(0, -29, low), (0, -29, high)], [14, 13], pieces=1)))
    for middle, height, width in VERTEBRAE:
        parts += _vertebra(middle, height, width, vary)
    canal: list[Point] = [(0, -27, low), (0, -27, high)]
    return [*parts, Part("cord", Tube(canal, [8.5, 8.0], pieces=1, squash=(1.2, 1, 1)))]


def _vertebra(middle: float, height: float, width: float, vary: Variation) -> list[Part]:
    low, high = middle - height / 2, middle + height / 2
    body = Barrel([(middle, vary.size(width, 0.03), 0.75 * width, 0.0)], low=low, high=high)
    arms = [Tube([(0, -40, middle - 6), (0, -66, middle - 14)], [5.5, 6.5], squash=(0.8, 1, 1.5))]
    for side in (-1, 1):
        arms.append(Tube([(side * 14, -24, middle + 2), (side * 40, -34, middle)], [6, 4]))
    facets = [Ellipsoid((side * 17, -36, middle - 14), (6, 7, 10)) for side in (-1, 1)]
    return [Part("bone", body, layers=(Layer("marrow", 2.2),)), Part("bone", Union([*arms, *facets]))]


def ribs(build: Build, vary: Variation) -> list[Part]:
    """Ribs that descend to the front, with cartilage that rises to the breast bone; the last two end free."""
    parts: list[Part] = []
    for number, (start, _, _) in zip(range(12, 0, -1), VERTEBRAE[TWELFTH:], strict=True):
        fall = vary.size({1: 30.0, 2: 50.0}.get(number, 88.0))
        bony = {12: 55.0, 11: 85.0, 1: 140.0, 2: 140.0}.get(number, 124.0)
        way = np.linspace(BACK_DEG, bony, 8)
        drop = start - 4 - fall * (way - BACK_DEG) / (124.0 - BACK_DEG)
        for side in (-1, 1):
            points = _along_wall(build, side, way, drop)
            parts.append(Part("rib", Tube(points, [5.2] * len(points), pieces=2, squash=(0.85, 0.85, 1.25))))
            if number < 11:
                rise = drop[-1] + np.array([0.0, 4.0, 18.0, max(28.0, 120.0 - drop[-1])])
                ends = _along_wall(build, side, np.linspace(bony, FRONT_DEG, 4), rise)
                parts.append(Part("cartilage", Tube(ends, [5.0] * 4, pieces=2)))
    front = [(z, c + b) for z, _, b, c in CAVITY if 110 < z < 290]
    breast: list[Point] = [(0.0, y + build.wall / 2, z) for z, y in front]
    return [*parts, Part("rib", Tube(breast, [9.0] * len(breast), squash=(1.9, 0.7, 1)))]


def _along_wall(build: Build, side: int, degrees: np.ndarray, z: np.ndarray) -> list[Point]:
    """Return points in the middle of the wall at angles `degrees` from the back."""
    heights, widths, depths, centres = np.array(CAVITY).T
    a, b, c = (np.interp(z, heights, v) for v in (widths, depths, centres))
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    # The cavity is a rounded box of exponent 3, so its outline takes sine and cosine to the power 2 / 3.
    x = side * (a + build.wall / 2) * sine ** (2 / 3)
    y = c - (b + build.wall / 2) * np.sign(cosine) * np.abs(cosine) ** (2 / 3)
    return [(float(p), float(q), float(r)) for p, q, r in zip(x, y, z, strict=True)]


def girdle() -> list[Part]:
    """Shoulder blades, collar bones and the heads of the upper arms, in fat and muscle."""
    parts: list[Part] = []
    for side in (-1, 1):
        armpit = Ellipsoid((side * 128, 8, 232), (26, 42, 40))
        blade = [
            Tube(
                [(side * 84, -72, 165), (side * 100, -74, 215), (side * 120, -62, 262)],
                [4, 4.5, 5],
                squash=(2.2, 0.8, 1),
            ),
            Tube([(side * 80, -74, 235), (side * 125, -72, 262), (side * 168, -20, 290)], [4, 5, 6]),
        ]
        collar = Tube(
            [(side * 14, 52, 278), (side * 60, 50, 288), (side * 110, 14, 298), (side * 158, 2, 300)], [7, 5.5, 6, 6]
        )
        arm = Ellipsoid((side * 170, -14, 276), (22, 23, 23))
        parts += [Part("fat", armpit), Part("rib", Union(blade)), Part("rib", collar)]
        parts.append(Part("bone", arm, layers=(Layer("marrow", 3.0),)))
    return parts
