"""Names of label values in a NIfTI file: the label table of Connectome Workbench, in a header extension.

TotalSegmentator writes its masks so too; programs that do not know the extension pass over it.
"""

from __future__ import annotations

import gzip
import html
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import nibabel

from sautomed.scans.nifti_file import NiftiHeader
from sautomed.scans.palette import colour_of, display_name
from sautomed.scans.payload import Payload, open_bytes
from sautomed.scans.values import MAX_LABEL

MAX_BYTES = 1 << 22  # ours: names of thousands of labels fit
_CODE = 0  # of no registered kind, as in TotalSegmentator; nibabel cannot give the content of 30
_CODES = (_CODE, 30)  # 30 is registered for Caret, now Workbench
_LABEL = re.compile(r'<Label\b[^>]*?\bKey="\s*([0-9]{1,5})\s*"[^>]*>(.*?)</Label\s*>', re.DOTALL)
_CDATA = re.compile(r"\s*<!\[CDATA\[(.*)\]\]>\s*", re.DOTALL)


def read_names(found: NiftiHeader) -> dict[int, str]:
    """Return the names that extensions between header and voxels give; none if there is no label table."""
    header, first = found.header, int(found.header.single_vox_offset)
    if found.payload.skip <= first + 8:
        return {}
    content = _start_of(found.payload, min(found.payload.skip, MAX_BYTES))
    if len(content) < first or content[first - 4] == 0:
        return {}
    order: Literal["little", "big"] = "little" if header.endianness == "<" else "big"
    names: dict[int, str] = {}
    while first + 8 <= len(content):
        size = int.from_bytes(content[first : first + 4], order, signed=True)
        code = int.from_bytes(content[first + 4 : first + 8], order, signed=True)
        if size < 8 or first + size > len(content):
            break
        if code in _CODES:
            names |= _names_in(content[first + 8 : first + size].decode("utf-8", errors="replace"))
        first += size
    return names


def _start_of(payload: Payload, count: int) -> bytes:
    """Return the first bytes of a file, uncompressed; fewer if the stream breaks off, which reading voxels reports."""
    with open_bytes(payload.path) as stream:
        if payload.encoding != "gzip":
            return stream.read(count)
        with suppress(EOFError, zlib.error, gzip.BadGzipFile), gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(count)
    return b""


def extension_of(names: Mapping[int, str]) -> nibabel.nifti1.Nifti1Extension[bytes]:
    """Return a header extension with names and colours of labels.

    Args:
        names: Name of each label without the background.
    """
    table = "".join(_label(value, name) for value, name in sorted(names.items()))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension>\n<VolumeInformation Index="0">\n'
        f"<LabelTable>\n{table}</LabelTable>\n<VolumeType>Label</VolumeType>\n</VolumeInformation>\n</CaretExtension>\n"
    )
    return nibabel.nifti1.Nifti1Extension(_CODE, text.encode("utf-8"))


def _label(value: int, name: str) -> str:
    red, green, blue = (int(colour_of(value)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    colour = f'Red="{red:.6g}" Green="{green:.6g}" Blue="{blue:.6g}" Alpha="1"'
    return f'<Label Key="{value}" {colour}>{html.escape(display_name(name), quote=False)}</Label>\n'


def _names_in(text: str) -> dict[int, str]:
    names = {}
    for match in _LABEL.finditer(text):
        literal = _CDATA.fullmatch(match[2])
        name = literal[1] if literal else html.unescape(match[2].strip())
        if 0 < int(match[1]) <= MAX_LABEL:
            names[int(match[1])] = name
    return names
