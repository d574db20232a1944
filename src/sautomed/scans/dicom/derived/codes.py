"""Organ names as DICOM codes: what a segment or a region of interest is, in words that other programs know.

The codes are SNOMED CT's as DICOM names them (PS3.16, CID 7192, 7166, 7159), looked up in pydicom's copy of the
standard, so none is typed here twice. A name that is not found gets a private code: it stays readable, and nothing
fails.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from sautomed.scans.palette import colour_of, display_name

PRIVATE_SCHEME = "99SAUTOMED"
TEXT_LENGTH = 64  # of VR LO, in which labels and meanings are kept
_CODE_LENGTH = 16  # of VR SH

# Words that tell which one of several; what is left of the name is the organ.
_MODIFIERS: Mapping[str, str] = {
    "right": "Right", "r": "Right", "left": "Left", "l": "Left", "both": "Bilateral", "bilateral": "Bilateral",
    "anterior": "Anterior", "posterior": "Posterior",
}  # fmt: skip
_PLURALS: Mapping[str, str] = {
    "kidneys": "kidney", "lungs": "lung", "adrenals": "adrenal gland", "adrenal glands": "adrenal gland",
    "femurs": "femur", "eyes": "eye", "hippocampi": "hippocampus",
}  # fmt: skip
# How data sets spell what DICOM calls otherwise.
_SPELLINGS: Mapping[str, str] = {
    "oesophagus": "esophagus", "postcava": "inferior vena cava", "ivc": "inferior vena cava",
    "svc": "superior vena cava", "adrenal": "adrenal gland", "suprarenal gland": "adrenal gland", "kid": "kidney",
    "gall": "gallbladder", "gall bladder": "gallbladder", "stom": "stomach", "panc": "pancreas", "oes": "esophagus",
    "urinary bladder": "bladder", "small bowel": "small intestine", "bowel": "intestine",
    "thyroid gland": "thyroid", "clavicula": "clavicle", "femoral head": "head of femur", "tumour": "neoplasm",
    "tumor": "neoplasm", "cancer": "neoplasm", "heart ventricle left": "left ventricle",
    "heart ventricle right": "right ventricle", "heart atrium left": "left atrium",
    "heart atrium right": "right atrium", "iliac artery": "common iliac artery", "iliac vena": "common iliac vein",
    "lung upper lobe": "upper lobe of lung", "lung lower lobe": "lower lobe of lung",
    "lung middle lobe right": "middle lobe of right lung", "brainstem": "brain stem", "spine": "vertebral column",
    "portal and splenic vein": "portal vein and splenic vein",
}  # fmt: skip
# Well-formed SNOMED CT codes that DICOM's own groups lack; other segmentation programs write the same ones.
_FURTHER = (
    Code("110765007", "SCT", "Portal vein and splenic vein"),
    Code("74281007", "SCT", "Myocardium"),
)
_Words = frozenset[str]


@dataclass(frozen=True)
class OrganCode:
    """What a class is, as DICOM wants it for a segment.

    Args:
        category: Of CID 7150, such as Anatomical Structure.
        kind: The structure itself ("property type").
        modifier: Which side or part of it, or None.
    """

    category: Code
    kind: Code
    modifier: Code | None = None

    @property
    def is_known(self) -> bool:
        """Whether the name was found; otherwise `kind` is a private code."""
        return self.kind.scheme_designator != PRIVATE_SCHEME


def organ_code(name: str) -> OrganCode:
    """The coded concept of an organ's name, in whatever order and case its words stand.

    Args:
        name: For example "right_kidney", "Kidney, left", "postcava" or "Hippocampus anterior".
    """
    words = _words(name)
    found = _known(words)
    if found:
        return found
    for plural, singular in _PLURALS.items():
        found = _known(_words(singular)) if words == _words(plural) else None
        if found:
            return OrganCode(found.category, found.kind, codes.SCT.Bilateral)
    told = [word for word in words if word in _MODIFIERS]
    if len(told) == 1:
        found = _known(words - set(told))
        if found:
            return OrganCode(found.category, found.kind, getattr(codes.SCT, _MODIFIERS[told[0]]))
    return OrganCode(codes.SCT.Tissue, _private_code(name))


def code_item(code: Code) -> Dataset:
    """A code as the item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def label_text(name: str) -> str:
    """A class name as people read it, such that a DICOM text field can hold it."""
    plain = "".join("/" if letter == "\\" else letter for letter in display_name(name) if letter.isprintable())
    return " ".join(plain.split())[:TEXT_LENGTH].strip() or "unnamed"


def colour_rgb(class_id: int) -> tuple[int, int, int]:
    """The palette's colour of a class, each part 0 to 255."""
    digits = colour_of(class_id).removeprefix("#")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _known(words: _Words) -> OrganCode | None:
    spelled = next((right for wrong, right in _SPELLINGS.items() if _words(wrong) == words), None)
    return _dictionary().get(words if spelled is None else _words(spelled))


@cache
def _dictionary() -> dict[_Words, OrganCode]:
    """DICOM's segmentation property types by the words of their meanings; the first of several stays."""
    groups = (
        (codes.cid7192, codes.SCT.AnatomicalStructure),
        (codes.cid7166, codes.SCT.Tissue),
        (codes.cid7159, codes.SCT.MorphologicallyAbnormalStructure),
    )
    found: dict[_Words, OrganCode] = {}
    for group, category in groups:
        for keyword in group.dir():
            code = getattr(group, keyword)
            if code.scheme_designator == "SCT":
                found.setdefault(_words(code.meaning), OrganCode(category, code))
    for code in _FURTHER:
        found.setdefault(_words(code.meaning), OrganCode(codes.SCT.AnatomicalStructure, code))
    return found


def _words(name: str) -> _Words:
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    # Vertebrae are "vertebrae_L1" in data sets and "L1 vertebra" in DICOM.
    words = ["vertebra" if word == "vertebrae" else word for word in re.findall(r"[a-z0-9]+", folded)]
    return frozenset(words) - {"of", "the"}


def _private_code(name: str) -> Code:
    """A code of our own scheme: the name itself if it fits, otherwise its start and a digest; equal names agree."""
    plain = re.sub(r"[^A-Z0-9]+", "_", unicodedata.normalize("NFKD", name).upper()).strip("_")
    is_whole = 0 < len(plain) <= _CODE_LENGTH and plain == name.upper()
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest().upper()
    value = plain if is_whole else f"{plain[:7]}_{digest[:8]}".lstrip("_")
    return Code(value, PRIVATE_SCHEME, label_text(name))
