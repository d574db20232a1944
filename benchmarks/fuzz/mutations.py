"""Change valid inputs at random, mostly in their headers.

An input is identified by the random seed, its format and its number: `mutated` gives the same bytes again.
"""

import random
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fuzz.seeds import Element, Seed, packed

Random = random.Random

WORDS = (
    *(b"-1", b"0", b"00", b"3", b"99999999999999999999", b"4294967296", b"65535", b"2147483647", b"1" * 400),
    *(b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e-320", b"1e39", b"1_0", b"0x10", b"1,5", b"(", b"()", b")"),
    *(b"none", b"true", b"false", b"null", b"{}", b"[]", b'"', b"'", b"../x", b"/dev/zero", b".", b"", b"a" * 3000),
    *(b"LIST", b"%03d", b"LOCAL", b"gzip", b"bzip2", b"ascii", b"hex", b"raw", b"double", b"complex", b"block"),
    *(b"\n", b"\n\n", b"\r\n", b":=", b"=", b":", b"\0", b"\x1b[31m", b"\xff\xfe", b"\xc3\xa9", b"\xe2\x80\xae"),
    *("\u0663".encode(), "\u00b2".encode(), b"#", b"\t", b" ", b"True", b"M", b"MET_LONG", b"RAS", b"left"),
)
NUMBERS = tuple(
    struct.pack(code, value)
    for order in "<>"
    for code, values in (
        (f"{order}h", (-1, 0, 1, 2, 7, 8, 32767, -32768)),
        (f"{order}i", (-1, 0, 1, 2, 2**31 - 1, -(2**31), 1 << 24, 540, 348)),
        (f"{order}q", (-1, 0, 1, 2**63 - 1, -(2**63), 1 << 32)),
        (f"{order}f", (0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -3e38, float("nan"), float("inf"), -float("inf"), 351.9)),
        (f"{order}d", (0.0, 1e308, 1e-310, float("nan"), float("inf"))),
    )
    for value in values
)
VALUES = (
    *(b"", b"-1", b"0", b"1", b"2", b"16", b"nan", b"inf", b"1e308", b"-1e12", b"1e11", b"1e-300", b"1,5", b"abc"),
    *(b"\\", b"1\\2\\3", b"1\\0\\0\\0\\1\\0", b"0\\0\\0", b"\\\\\\\\\\", b"9" * 64, b"\0", b"\0\0", b"\xff\xff"),
    *(b"CT", b"MR", b"SEG", b"RGB", b"YBR_FULL", b"PALETTE COLOR", b"MONOCHROME1", b"LOCALIZER", b"ISO 2022 IR 87"),
    *(b"ISO_IR 192", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5", b"1" * 17),
    *(b"1.2.840.10008.1.3.10", b"A" * 5000, b"\1\0", b"\2\0", b"\x08\0", b"\x20\0", b"\x40\0", b"\0\x80"),
    *(b"\xff\xff\xff\x7f", b"\x1b[2J"),
)
TYPES = (b"SQ", b"UN", b"OB", b"OW", b"OF", b"OD", b"OV", b"US", b"SS", b"UL", b"SV", b"FL", b"FD", b"DS", b"IS", b"AT",
         b"UT", b"PN", b"LO", b"CS", b"TM", b"DA", b"UI", b"??", b"\0\0")  # fmt: skip
SIZES = (b"\x28\0\x10\0", b"\x28\0\x11\0", b"\0\x28\0\x10", b"\0\x28\0\x11")  # tags of Rows and Columns
CUT, INSIDE = 0.06, 0.85  # probability that a file is only cut; that changes are made before packing


@dataclass(frozen=True)
class Input:
    """One changed input.

    Args:
        seed: The valid input.
        files: The changed files, as on disk.
        options: Of ReadOptions.
        cut: Whether the only change is that the end of a file is missing.
    """

    seed: Seed
    files: dict[str, bytes]
    options: dict[str, Any]
    cut: bool


def mutated(variants: Sequence[Seed], number: int, random_seed: int) -> Input:
    """Return the input of that number, made from the variants of a format."""
    rng = Random(f"{random_seed} {variants[0].format} {number}")
    seed = rng.choice(variants)
    if rng.random() < CUT:
        files = packed(seed, seed.files)
        name = rng.choice(sorted(files))
        return Input(seed, {name: files[name][: rng.randrange(len(files[name]))]}, seed.options, cut=True)
    changed = _changed_files(seed, rng) if not seed.packing or rng.random() < INSIDE else {}
    whole = seed.packing == "zip" or not changed
    files = packed(seed, {**seed.files, **changed} if whole else changed)
    if not changed or (seed.packing and rng.random() < 0.1):
        name = rng.choice(sorted(files))
        files[name] = _bytes_changed(bytearray(files[name]), rng, len(files[name]), ())
    return Input(seed, files, _options(seed, rng), cut=False)


def _options(seed: Seed, rng: Random) -> dict[str, Any]:
    options = dict(seed.options) if rng.random() < 0.8 else {}
    if rng.random() < 0.2:
        options["frame"] = rng.choice((0, 1, -1, 10**30))
    if rng.random() < 0.2:
        options["channel"] = rng.choice((0, 1, 2, -1, 10**30))
    if seed.kind in ("dicom", "labels") and rng.random() < 0.2:
        options["series"] = rng.choice(("1", "2", "", "abd", "1.2", "\0", "9" * 50))
    return options | {"resample": rng.random() < 0.5, "assume_spacing": rng.random() < 0.5}


def _changed_files(seed: Seed, rng: Random) -> dict[str, bytes]:
    """Change some of the files; those of a series often all in the same way."""
    names = sorted(name for name in seed.files if seed.style != "dicom" or name in seed.elements)
    alike = seed.style == "dicom" and rng.random() < 0.4
    if alike:
        chosen = names
    elif seed.kind == "dataset":
        chosen = ["dataset.json"]
    else:
        chosen = [seed.target if seed.target in seed.files and rng.random() < 0.8 else rng.choice(names)]
    state = rng.getstate()
    changed = {}
    for name in chosen:
        if alike:  # the same random choices for each
            rng.setstate(state)
        changed[name] = _changed(seed, name, rng)
    return changed


def _changed(seed: Seed, name: str, rng: Random) -> bytes:
    content = bytearray(seed.files[name])
    if seed.style == "text" and (name == seed.target or name.endswith(".json")):
        head = min(seed.head, len(content))
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            head += _change_text(content, rng, max(head, 1))
        return bytes(content)
    hot: tuple[int, ...] = ()
    if seed.style == "dicom":
        elements = seed.elements[name]
        hot = tuple(element.value for element in elements if element.length > 200)
        if rng.random() < 0.02:
            return _enlarged(content, elements, rng)
        if rng.random() < 0.75:
            for place in sorted(rng.sample(range(len(elements)), rng.choice((1, 1, 1, 2, 3))), reverse=True):
                _change_element(content, elements, place, rng)
            if rng.random() < 0.8:
                return bytes(content)
    return _bytes_changed(content, rng, seed.head, hot)


def _change_text(content: bytearray, rng: Random, head: int) -> int:
    """Change a word, a line or a byte of a text header; return by how much it grew."""
    before, turn = len(content), rng.random()
    words = list(re.finditer(rb"[^\s:=(),\"\[\]{}]+", content[:head]))
    lines = list(re.finditer(rb"[^\n]*\n", content[:head]))
    if turn < 0.55 and words:
        word = rng.choice(words)
        content[word.start() : word.end()] = rng.choice(WORDS)
    elif turn < 0.75 and lines:
        line = rng.choice(lines)
        other = bytes(rng.choice(lines)[0])
        content[line.start() : line.end()] = rng.choice((b"", other, bytes(line[0]) + other, bytes(line[0]).upper()))
    elif turn < 0.8:
        at = rng.randrange(head)
        content[at:at] = rng.choice(WORDS)
    else:
        return len(_change_bytes(content, rng, head, ())) - before
    return len(content) - before


def _bytes_changed(content: bytearray, rng: Random, head: int, hot: Sequence[int]) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        content = _change_bytes(content, rng, head, hot)
    return bytes(content)


def _change_bytes(content: bytearray, rng: Random, head: int, hot: Sequence[int]) -> bytearray:
    """Change a few bytes: mostly of the header, or of the start of an image within the file."""
    if len(content) < 8:
        return content
    turn, where = rng.random(), rng.random()
    if hot and where < 0.4:
        at = min(rng.choice(hot) + rng.randrange(160), len(content) - 1)
    else:
        at = rng.randrange(min(head, len(content)) if where < 0.9 else len(content))
    if turn < 0.25:
        content[at] = rng.randrange(256)
    elif turn < 0.4:
        content[at] ^= 1 << rng.randrange(8)
    elif turn < 0.65:
        number = rng.choice(NUMBERS)
        at -= at % 2
        content[at : at + len(number)] = number
    elif turn < 0.73:
        del content[at : at + rng.randrange(1, 20)]
    elif turn < 0.81:
        content[at:at] = rng.randbytes(rng.randrange(1, 12))
    elif turn < 0.94:
        size, other = rng.choice((2, 4, 8, 80)), rng.randrange(len(content))
        content[at : at + size] = content[other : other + size]
    else:
        del content[max(at, 1) :]
    return content


def _change_element(content: bytearray, elements: Sequence[Element], place: int, rng: Random) -> None:
    """Change a DICOM element: its value with its length, or its length, type, tag or position."""
    element = elements[place]
    turn, end = rng.random(), element.value + element.length
    if turn < 0.45:
        value = rng.choice(VALUES) if rng.random() < 0.7 else rng.choice(NUMBERS)
        _set_value(content, element, value + b" " * (len(value) % 2) if rng.random() < 0.95 else value)
    elif turn < 0.55:
        other = rng.choice(elements)
        _set_value(content, element, bytes(content[other.value : other.value + other.length][:5000]))
    elif turn < 0.67:
        _set_length(content, element, rng.choice((0, 1, 2, 3, 7, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 1 << 20)))
    elif turn < 0.77 and element.explicit:
        content[element.start + 4 : element.start + 6] = rng.choice(TYPES)
    elif turn < 0.83:
        other = rng.choice(elements)
        content[element.start : element.start + 4] = content[other.start : other.start + 4]
    elif turn < 0.93:
        del content[element.start : end]
    elif turn < 0.97:
        content[element.start : element.start] = content[element.start : end]
    else:
        del content[element.value + rng.randrange(element.length + 1) :]


def _enlarged(content: bytearray, elements: Sequence[Element], rng: Random) -> bytes:
    """Enlarge the image size in the header and in the compressed image, beyond the bytes that are there."""
    side = rng.choice((4000, 20000, 65535))
    for element in elements:
        if content[element.start : element.start + 4] in SIZES:
            content[element.value : element.value + 2] = side.to_bytes(2, "big" if element.big else "little")
    start = content.find(b"\xff\x4f\xff\x51")  # JPEG 2000: size of the image and of its tiles
    if start >= 0:
        for at in (8, 12, 24, 28):
            content[start + at : start + at + 4] = side.to_bytes(4, "big")
    for marker in (b"\xff\xf7\0", b"\xff\xc0\0", b"\xff\xc3\0"):  # the frame of JPEG-LS and JPEG
        start = content.find(marker)
        if start >= 0:
            content[start + 5 : start + 9] = 2 * side.to_bytes(2, "big")
    return bytes(content)


def _set_value(content: bytearray, element: Element, value: bytes) -> None:
    content[element.value : element.value + element.length] = value
    _set_length(content, element, len(value))


def _set_length(content: bytearray, element: Element, length: int) -> None:
    size = 4 if element.long else 2
    counted = (length & (2 ** (8 * size) - 1)).to_bytes(size, "big" if element.big else "little")
    content[element.value - size : element.value] = counted
