"""What every patient has in common: which organ lies to the left of, behind or below which.

Only relations that hold between the centroids of whole organs in nearly everyone (situs inversus and transplants
aside) and with room to spare are listed. Organs are known by their names; unknown names take no part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

Point = tuple[float, float, float]
BODY = "body"  # not a label: the middle of what is brighter than air
MARGIN_MM = 10.0  # ours: by how much a relation must be violated to count
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
# The first lies more to the patient's left, back or feet than any of the others.
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
    """How two organs of a case lie along one axis.

    Args:
        axis: Index of `AXES`.
        lower: The name of the organ that should lie further to the left, back or feet.
        higher: The name of the other.
        distance_mm: How much higher the other lies; negative where the relation is violated.
        twins: Whether the two names differ by a side only, as "left kidney" and "right kidney".
    """

    axis: int
    lower: str
    higher: str
    distance_mm: float
    twins: bool

    @property
    def violated(self) -> bool:
        """Whether the organs lie the wrong way round, by more than a margin."""
        return self.distance_mm < -MARGIN_MM

    def line(self) -> str:
        """What is seen."""
        side = (("right", "left"), ("front", "back"), ("head", "feet"))[self.axis][self.distance_mm > 0]
        low, high = ("the body's middle" if name == BODY else name for name in (self.lower, self.higher))
        return f"{low} lies {abs(self.distance_mm):.0f} mm further to the {side} than {high}"


def relations_of(centres_mm: Mapping[str, Point]) -> list[Relation]:
    """Every known relation between the named places of one case.

    Args:
        centres_mm: By the label's name (or `BODY`), its centroid in RAS mm.
    """
    known: dict[str, tuple[str, Point]] = {}
    for name, place in centres_mm.items():
        known.setdefault(canonical(name), (name, place))
    wanted = [(axis, low, high, False) for axis, low, others in _RELATIONS for high in others]
    wanted += [(*pair, True) for pair in _twins(known)]
    return [
        Relation(axis, known[low][0], known[high][0], known[high][1][axis] - known[low][1][axis], twins)
        for axis, low, high, twins in wanted
        if low in known and high in known
    ]


def canonical(name: str) -> str:
    """A label's name in plain words, its side first: "R.Kid" and "kidney_right" are both "right kidney"."""
    text = name.lower().replace("gall bladder", "gallbladder").replace("gall_bladder", "gallbladder")
    words = [word for part in re.findall(r"[a-z0-9]+", text) for word in _WORDS.get(part, part).split()]
    words = [word for word in words if word not in _IDLE]
    sides = [word for word in words if word in ("left", "right")]
    return " ".join([*sides, *(word for word in words if word not in ("left", "right"))])


def _twins(known: Mapping[str, object]) -> Iterator[tuple[int, str, str]]:
    """Pairs of names that differ in one word, which says the side."""
    for (low, high), axis in zip(_PAIRS, _PAIR_AXIS, strict=True):
        for one, other in product(known, repeat=2):
            first, second = one.split(), other.split()
            differing = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
            if len(first) == len(second) and differing == [(low, high)]:
                yield axis, one, other
