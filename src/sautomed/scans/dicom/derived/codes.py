"""DICOM codes of organ names, by which other programs know what a segment or a region of interest is.

The codes are those of SNOMED CT in DICOM's context groups (PS3.16, CID 7192, 7166, 7159), looked up in pydicom's copy
of the standard. A name that is not found gets a private code with a readable meaning.
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
TEXT_LENGTH = 64  # of VR LO, the type of labels and meanings
_CODE_LENGTH = 16  # of VR SH

# Words for the side or part; the rest of the name is the organ.
_MODIFIERS: Mapping[str, str] = {
    "right": "Right", "r": "Right", "left": "Left", "l": "Left", "both": "Bilateral", "bilateral": "Bilateral",
    "anterior": "Anterior", "posterior": "Posterior",
}  # fmt: skip
_PLURALS: Mapping[str, str] = {
    "kidneys": "kidney", "lungs": "lung", "adrenals": "adrenal gland", "adrenal glands": "adrenal gland",
    "femurs": "femur", "eyes": "eye", "hippocampi": "hippocampus",
}  # fmt: skip
# Names in data sets that differ from DICOM's.
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
# SNOMED CT codes that are not in these context groups; other segmentation programs write the same ones.
_FURTHER = (
    Code("110765007", "SCT", "Portal vein and splenic vein"),
    Code("74281007", "SCT", "Myocardium"),
)
_Words = frozenset[str]


@dataclass(frozen=True)
class OrganCode:
    """Codes of a class, as a segment has them.

    Args:
        category: From CID 7150, such as Anatomical Structure.
        kind: The structure ("property type").
        modifier: Side or part of it, or None.
    """

    category: Code
    kind: Code
    modifier: Code | None = None

    @property
    def is_known(self) -> bool:
        """Whether the name was found; if not, `kind` is a private code."""
        return self.kind.scheme_designator != PRIVATE_SCHEME


def organ_code(name: str) -> OrganCode:
    """Return the codes of an organ's name, whatever the order and case of its words.

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
    modifiers = [word for word in words if word in _MODIFIERS]
    if len(modifiers) == 1:
        found = _known(words - set(modifiers))
        if found:
            return OrganCode(found.category, found.kind, getattr(codes.SCT, _MODIFIERS[modifiers[0]]))
    return OrganCode(codes.SCT.Tissue, _private_code(name))


def code_item(code: Code) -> Dataset:
    """Return a code as the item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def label_text(name: str) -> str:
    """Return the display name of a class, shortened and cleaned for a DICOM text element."""
    plain = "".join("/" if letter == "\\" else letter for letter in display_name(name) if letter.isprintable())
    return " ".join(plain.split())[:TEXT_LENGTH].strip() or "unnamed"


def colour_rgb(class_id: int) -> tuple[int, int, int]:
    """Return the palette's colour of a class, each component 0 to 255."""
    digits = colour_of(class_id).removeprefix("#")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _known(words: _Words) -> OrganCode | None:
    name = next((name for spelling, name in _SPELLINGS.items() if _words(spelling) == words), None)
    return _dictionary().get(words if name is None else _words(name))


@cache
def _dictionary() -> dict[_Words, OrganCode]:
    """Return DICOM's segmentation property types by the words of their meanings; of equal ones, the first."""
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
    """Return the words of a name in lower case, without accents and fill words."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    # Vertebrae are "vertebrae_L1" in data sets and "L1 vertebra" in DICOM.
    words = ["vertebra" if word == "vertebrae" else word for word in re.findall(r"[a-z0-9]+", folded)]
    return frozenset(words) - {"of", "the"}


def _private_code(name: str) -> Code:
    """Return a code of our scheme: the name itself if it fits, else its start and a digest of the name."""
    plain = re.sub(r"[^A-Z0-9]+", "_", unicodedata.normalize("NFKD", name).upper()).strip("_")
    is_whole = 0 < len(plain) <= _CODE_LENGTH and plain == name.upper()
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest().upper()
    value = plain if is_whole else f"{plain[:7]}_{digest[:8]}".lstrip("_")
    return Code(value, PRIVATE_SCHEME, label_text(name))
