"""Label descriptions of ITK-SNAP: a text file with names and colours."""

from __future__ import annotations

from collections.abc import Mapping

from sautomed.scans.palette import colour_of, display_name

_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Where:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def label_description(names: Mapping[int, str]) -> str:
    """Return the text that ITK-SNAP imports; label 0 is clear, the others have the colours of `palette`."""
    lines = [_line(0, (0, 0, 0), 0, "Clear Label")]
    for value, name in sorted(names.items()):
        colour = colour_of(value)
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        plain = " ".join(display_name(name).replace('"', "'").split())
        lines.append(_line(value, (red, green, blue), 1, plain))
    return _HEAD + "\n".join(lines) + "\n"


def _line(value: int, colour: tuple[int, int, int], visible: int, name: str) -> str:
    red, green, blue = colour
    return f'{value:5d}  {red:5d}{green:5d}{blue:5d}  {visible:8.2f}  {visible}  {visible}    "{name}"'
