"""Relative positions of organs that hold in nearly every patient: left of, behind, below.

Only relations between the centroids of whole organs are listed that hold by a clear distance in nearly everyone, apart
from situs inversus and transplants. Organs are recognised by their names; unknown names are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

Point = tuple[float, float, float]
BODY = "body"  # not a label: the middle of the region brighter than air
MARGIN_MM = 10.0  # ours: a relation counts as violated beyond this distance
AXES = ("left to right", "back to front", "down to up")  # of RAS
_PAIRS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"), ("lower", "upper"))
_PAIR_AXIS = (0, 1, 2, 2)
_WORDS = {
    "l": "left", "lt": "left", "r": "right", "rt": "right", "kid": "kidney", "kidneys": "kidney", "lungs": "lung",
    "gall": "gallbladder", "gb": "gallbladder", "panc": "pancreas", "stom": "stomach", "esoph": "esophagus",
    "oesophagus": "esophagus", "ivc": "inferior vena cava", "postcava": "inferior vena cava", "lkid": "left kidney",
    "rkid": "right kidney", "lkidney": "left kidney", "rkidney": "right kidney", "spine": "spine",
    "vertebrae": "spine", "vertebra": "spine",
}  # fmt: skip
_IDLE = {"urinary", "the", "of", "gland", "organ", "whole"}
# Axis, organ, and others that are further to the patient's right, front or head than this organ.
_RELATIONS: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (0, "spleen", ("liver", "gallbladder", "right kidney", "right lung", BODY)),
    (0, "stomach", ("liver", "gallbladder", "right kidney")),
    (0, "left kidney", ("liver", "gallbladder", "inferior vena cava", BODY)),
    (0, "aorta", ("liver", "gallbladder", "right kidney")),
    (0, "pancreas", ("liver", "right kidney")),
    (0, BODY, ("liver", "gallbladder", "right kidney")),
    (0, "left lung", ("liver",)),
    (1, "spine", ("aorta", "liver", "stomach", "pancreas", "heart", "bladder", BODY)),
    (1, "spinal cord", ("aorta", "liver", "stomach", "pancreas", "heart")),
    (1, "left kidney", ("stomach", "pancreas")),
    (1, "right kidney", ("liver", "gallbladder", "pancreas", "stomach")),
    (1, "spleen", ("stomach",)),
    (1, "esophagus", ("heart",)),
    (1, "rectum", ("bladder",)),
    (1, "sacrum", ("bladder",)),
    (2, "bladder", ("liver", "spleen", "left kidney", "right kidney", "stomach", "pancreas", "heart")),
    (2, "rectum", ("liver", "spleen", "left kidney", "right kidney")),
    (2, "prostate", ("liver", "spleen", "left kidney", "right kidney")),
    (2, "left kidney", ("heart", "left lung", "right lung", "trachea", "spleen")),
    (2, "right kidney", ("heart", "left lung", "right lung", "trachea", "liver")),
    (2, "liver", ("heart", "trachea", "brain")),
    (2, "heart", ("trachea", "brain")),
)


@dataclass(frozen=True)
class Relation:
    """Positions of two organs of a case along one axis.

    Args:
        axis: Index of `AXES`.
        lower: Name of the organ that should be further to the left, back or feet.
        higher: Name of the other organ.
        distance_mm: From `lower` to `higher` along the axis; negative if they are the wrong way round.
        twins: Whether the names differ only by a side, as "left kidney" and "right kidney".
    """

    axis: int
    lower: str
    higher: str
    distance_mm: float
    twins: bool

    @property
    def violated(self) -> bool:
        """Whether the organs are the wrong way round by more than `MARGIN_MM`."""
        return self.distance_mm < -MARGIN_MM

    def line(self) -> str:
        """Return the positions as text."""
        side = (("right", "left"), ("front", "back"), ("head", "feet"))[self.axis][self.distance_mm > 0]
        low, high = ("the body's middle" if name == BODY else name for name in (self.lower, self.higher))
        return f"{low} lies {abs(self.distance_mm):.0f} mm further to the {side} than {high}"


def relations_of(centres_mm: Mapping[str, Point]) -> list[Relation]:
    """Return every known relation between the organs of one case.

    Args:
        centres_mm: Centroid in RAS mm by the label's name, or by `BODY`.
    """
    known: dict[str, tuple[str, Point]] = {}
    for name, place in centres_mm.items():
        known.setdefault(canonical_name(name), (name, place))
    wanted = [(axis, low, high, False) for axis, low, others in _RELATIONS for high in others]
    wanted += [(*pair, True) for pair in _twins(known)]
    return [
        Relation(axis, known[low][0], known[high][0], known[high][1][axis] - known[low][1][axis], twins)
        for axis, low, high, twins in wanted
        if low in known and high in known
    ]


def canonical_name(name: str) -> str:
    """Return a label's name in one spelling, its side first: "R.Kid" and "kidney_right" are both "right kidney"."""
    text = name.lower().replace("gall bladder", "gallbladder").replace("gall_bladder", "gallbladder")
    words = [word for part in re.findall(r"[a-z0-9]+", text) for word in _WORDS.get(part, part).split()]
    words = [word for word in words if word not in _IDLE]
    sides = [word for word in words if word in ("left", "right")]
    return " ".join([*sides, *(word for word in words if word not in ("left", "right"))])


def _twins(known: Mapping[str, object]) -> Iterator[tuple[int, str, str]]:
    """Yield axis and names of pairs that differ only in the word for the side."""
    for (low, high), axis in zip(_PAIRS, _PAIR_AXIS, strict=True):
        for one, other in product(known, repeat=2):
            first, second = one.split(), other.split()
            differing = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
            if len(first) == len(second) and differing == [(low, high)]:
                yield axis, one, other
