"""Read NRRD: a text header, with the voxels after it (.nrrd) or in a file beside it (.nhdr).

Format: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import NotThreeD, TruncatedFile, UnknownSpacing, UnsupportedVoxels
from sautomed.errors.text import listed
from sautomed.scans import text_header
from sautomed.scans.affine import (
    LPS_TO_RAS,
    affine_of,
    check_affine,
    check_choice,
    spacing_notes,
    unknown_orientation,
)
from sautomed.scans.grid import NativeGrid
from sautomed.scans.nrrd_segments import Segment, merge_layers, names_of_layer, segments_of, values_in_one_layer
from sautomed.scans.payload import CUT_SHORT, Encoding, Payload, check_size, end_notes, read_payload
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.text_header import damaged, not_read

_TYPES = {
    name: code
    for code, names in {
        "i1": "signed char|int8|int8_t",
        "u1": "uchar|unsigned char|uint8|uint8_t",
        "i2": "short|short int|signed short|signed short int|int16|int16_t",
        "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
        "i4": "int|signed int|int32|int32_t",
        "u4": "uint|unsigned int|uint32|uint32_t",
        "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
        "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split("|")
}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "ascii": "text",
    "text": "text",
    "txt": "text",
}
_BYTE_ORDERS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
_TO_RAS = {
    name: np.diag([*signs, 1.0])
    for names, signs in (
        (("right-anterior-superior", "ras"), (1, 1, 1)),
        (("left-anterior-superior", "las"), (-1, 1, 1)),
        (("left-posterior-superior", "lps"), (-1, -1, 1)),
    )
    for name in names
}
_SYNONYMS = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
_VECTOR = re.compile(r"\(([^()]*)\)|(none)", re.IGNORECASE)
_LIST = re.compile(r"LIST\b", re.IGNORECASE)
_IN_SPACE = ("domain", "space", "???", "none")
_OVER_TIME = ("list", "time")


@dataclass(frozen=True, eq=False)
class _Header:
    """A parsed header.

    Args:
        space_axes: The stored axes that are those of space.
        picked: Index to read along each other axis.
        segments: Segments of 3D Slicer.
        layer_axis: The axis whose volumes are layers of segments, all of which are read as one; None if there is none.
    """

    payload: Payload
    fields: dict[str, str]
    space_axes: tuple[int, int, int]
    picked: dict[int, int]
    segments: tuple[Segment, ...]
    layer_axis: int | None

    @property
    def names(self) -> dict[int, str]:
        """Names of label values."""
        if self.layer_axis is not None:
            return {value: segment.name for value, segment in values_in_one_layer(self.segments).items()}
        return names_of_layer(self.segments, next(iter(self.picked.values()), 0))


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """Read the header; as `scans.read_geometry`."""
    return _geometry(_read_header(path, options), path, options)


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """Read header and voxels; as `scans.read_stored`. The header is checked first, which is cheap."""
    header = _read_header(path, options)
    geometry = _geometry(header, path, options)
    voxels = read_payload(header.payload, path)
    if header.layer_axis is not None:
        return Stored(geometry, merge_layers(np.moveaxis(voxels, header.layer_axis, 0), header.segments, path))
    if header.picked:  # copied, so that the other volumes need not stay in memory
        voxels = np.array(voxels[tuple(header.picked.get(axis, slice(None)) for axis in range(voxels.ndim))], order="F")
    return Stored(geometry, voxels)


def _geometry(header: _Header, path: Path, options: ReadOptions) -> Geometry:
    affine, notes = _affine(header, path, options)
    check_affine(affine, path)
    a, b, c = (header.payload.shape[axis] for axis in header.space_axes)
    native = NativeGrid((a, b, c), affine)
    voxel_path = header.payload.path if header.payload.path != path else None
    kind = "detached header" if voxel_path else "attached header"
    return Geometry(
        path,
        f"NRRD, {kind}, {header.fields['encoding'].lower()}",
        native,
        header.payload.dtype if header.layer_axis is None else np.dtype(np.uint16),
        (*notes, *spacing_notes(native.shape, native.spacing_mm, path), *end_notes(header.payload, path)),
        header.names,
        voxel_path=voxel_path,
    )


def _read_header(path: Path, options: ReadOptions) -> _Header:
    fields, pairs, end = _fields(path)
    sizes = _sizes(fields, path)
    payload = _payload(fields, sizes, end, path)
    space_axes, others = _axes(fields, sizes, path)
    segments, layer_axis = segments_of(pairs), None
    if segments and options.frame is None and list(others.values()) == ["list"]:
        layer_axis = next(iter(others))
    picked = {} if layer_axis is not None else {
        axis: _choose(sizes[axis], kind, path, options) for axis, kind in others.items()
    }  # fmt: skip
    check_size(payload, path)
    return _Header(payload, fields, space_axes, picked, segments, layer_axis)


def _fields(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Return the fields, with names in lower case; the free keys and values; and the byte after the header."""
    start = text_header.read_start(path)
    match = re.search(rb"\r?\n\r?\n", start)
    end = match.end() if match else len(start)
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for line in start[: match.start() if match else end].decode("utf-8", errors="replace").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if value.startswith("="):
            pairs[name.strip()] = _unescaped(value[1:].strip())
            continue
        if not colon:
            raise damaged(path, f"its line {line[:60]!r} is no field")
        name = name.strip().lower()
        fields.setdefault(_SYNONYMS.get(name, name), value.strip())
        if _LIST.match(fields.get("data file", "")):  # the names of the files follow, one a line
            break
    if match is None and ("data file" not in fields or end == text_header.MAX_HEADER_BYTES):
        raise TruncatedFile(f"is truncated: it ends at byte {end}, within the NRRD header.", where=path, cure=CUT_SHORT)
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise damaged(path, f"it lacks the field {missing[0]!r}")
    return fields, pairs, end


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", text)


def _sizes(fields: dict[str, str], path: Path) -> tuple[int, ...]:
    sizes = text_header.parse_integers(fields["sizes"], path, "sizes")
    dimension = text_header.parse_integers(fields["dimension"], path, "dimension")
    if dimension != [len(sizes)] or len(sizes) > text_header.MAX_AXES or min(sizes) < 1:
        raise damaged(path, f"dimension {fields['dimension'][:20]!r} and sizes {fields['sizes'][:60]!r} fit no image")
    return tuple(sizes)


def _payload(fields: dict[str, str], sizes: tuple[int, ...], end: int, path: Path) -> Payload:
    encoding = text_header.look_up(fields["encoding"], _ENCODINGS, path, "encoding")
    dtype = np.dtype(text_header.look_up(fields["type"], _TYPES, path, "type"))
    if dtype.itemsize > 1 and encoding != "text":
        if "endian" not in fields:
            raise damaged(path, "it lacks the field 'endian', without which its voxels cannot be understood")
        dtype = dtype.newbyteorder(text_header.look_up(fields["endian"], _BYTE_ORDERS, path, "endian"))
    lines = text_header.parse_integers(fields.get("line skip", "0"), path, "line skip")[0]
    skip = text_header.parse_integers(fields.get("byte skip", "0"), path, "byte skip")[0]
    if lines < 0 or skip < -1:
        raise damaged(path, f"it skips {lines} lines and {skip} bytes")
    if lines > 0 or (skip == -1 and encoding != "raw"):
        raise not_read(path, f"skips {lines} lines and {skip} bytes before its voxels ({encoding})")
    detached = "data file" in fields
    voxel_file = text_header.data_file(fields["data file"], path) if detached else path
    payload = Payload(voxel_file, sizes, dtype, encoding, 0 if detached else end, max(skip, 0))
    if skip == -1:  # the voxels are the last bytes of the file
        first = voxel_file.stat().st_size - payload.voxel_bytes
        return replace(payload, start=first if first >= payload.start else -1)
    return payload


def _axes(fields: dict[str, str], sizes: tuple[int, ...], path: Path) -> tuple[tuple[int, int, int], dict[int, str]]:
    """Return the three axes of space, and the kinds of the others."""
    dimension = text_header.parse_integers(fields.get("space dimension", "3"), path, "space dimension")
    if dimension not in ([3], [4]):  # the fourth is time
        raise NotThreeD(
            f"places its voxels in a space of {dimension[0]} dimensions, but a 3D volume is needed.",
            where=path,
            cure="Write it again with three space directions, for example with pynrrd.",
        )
    kinds = fields.get("kinds", "").lower().split() or ["???"] * len(sizes)
    vectors = _vectors(fields, path) or [np.zeros(3)] * len(sizes)
    if len(kinds) != len(sizes) or len(vectors) != len(sizes):
        raise damaged(path, "the fields 'kinds', 'space directions' and 'sizes' differ in their numbers of axes")
    in_space = [axis for axis, kind in enumerate(kinds) if vectors[axis] is not None and kind in _IN_SPACE]
    while len(in_space) > 3 and all(kinds[axis] in _IN_SPACE for axis in in_space):
        in_space.pop()  # the header leaves open which axes are those of space: the fastest, as in every other format
    if len(in_space) < 3:
        raise NotThreeD(
            f"has {len(in_space)} axes in space (sizes {' x '.join(map(str, sizes))}), but a 3D volume is needed.",
            where=path,
            cure="Stack the slices first, for example in 3D Slicer.",
        )
    others = {axis: kind for axis, kind in enumerate(kinds) if axis not in in_space}
    return (in_space[0], in_space[1], in_space[2]), others


def _choose(length: int, kind: str, path: Path, options: ReadOptions) -> int:
    """Return the index along an axis that is not of space: a frame of a list or of time, otherwise a channel."""
    if kind in _OVER_TIME or kind in _IN_SPACE:
        return check_choice(options.frame, length, path, NotThreeD, "--frame", f"holds {length} volumes")
    if kind == "complex":
        raise UnsupportedVoxels(
            "stores complex numbers, but a scan or label map needs one number per voxel.",
            where=path,
            cure="Convert it to magnitude.",
        )
    colours = " (RGB?)" if length in (3, 4) else ""
    content = f"stores {length} channels{colours} per voxel, of the kind {kind[:30]!r}"
    return check_choice(options.channel, length, path, UnsupportedVoxels, "--channel", content)


def _vectors(fields: dict[str, str], path: Path) -> list[NDArray[np.float64] | None] | None:
    """Return the step of each axis in mm, None for axes that are not of space; None if the field is absent."""
    if "space directions" not in fields:
        return None
    text = fields["space directions"]
    found = list(_VECTOR.finditer(text))
    if not found or len(found) > text_header.MAX_AXES or _VECTOR.sub("", text).strip():
        raise damaged(path, f"its space directions are {text[:60]!r}")
    return [None if match[2] else _vector(match[1], path, "a space direction") for match in found]


def _vector(text: str, path: Path, name: str) -> NDArray[np.float64]:
    """Return a vector in space; a fourth component, which is time, is dropped."""
    count = min(max(text.count(",") + 1, 3), 4)
    return text_header.parse_floats(text.replace(",", " "), count, path, name)[:3]


def _affine(header: _Header, path: Path, options: ReadOptions) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine from index along the three axes of space to RAS mm, and warnings."""
    fields = header.fields
    notes: tuple[str, ...] = _unit_notes(fields, path)
    space = " ".join(fields.get("space", "").lower().split()).removesuffix("-time")
    vectors = _vectors(fields, path)
    to_ras = _TO_RAS.get(space) if vectors else None
    if to_ras is None:
        if vectors is None:
            _spacings(header, path)  # refused first, since --assume-spacing would not help
        if not options.assume_spacing:
            raise unknown_orientation(path, f"space is {space[:40]!r}" if space else "no space is named")
        notes += (f"{path}: names no space of the patient; left-posterior-superior is assumed, as ITK does.",)
        to_ras = LPS_TO_RAS
    if vectors:
        steps = [vectors[axis] for axis in header.space_axes]
        directions = np.array(steps, dtype=np.float64).T
    else:
        directions = np.diag(_spacings(header, path))
    if "space origin" not in fields:
        notes += (f"{path}: gives no space origin; its first voxel is put at 0 mm.",)
    match = re.fullmatch(r"\(([^()]*)\)", fields.get("space origin", "(0,0,0)"))
    if match is None:
        raise damaged(path, f"its space origin is {fields['space origin'][:60]!r}")
    return affine_of(directions, _vector(match[1], path, "space origin"), to_ras), notes


def _spacings(header: _Header, path: Path) -> NDArray[np.float64]:
    if "spacings" not in header.fields:
        raise UnknownSpacing(
            "gives neither space directions nor spacings, so its voxels have no size.",
            where=path,
            cure="Write it again from its source with space directions, for example with 3D Slicer.",
        )
    every = text_header.parse_floats(header.fields["spacings"], len(header.payload.shape), path, "spacings")
    return every[list(header.space_axes)]


def _unit_notes(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    units = {unit for unit in re.findall(r'"([^"]*)"', fields.get("space units", "")) if unit.strip()}
    if units <= {"mm", "millimeter", "millimeters", "s", "sec", "ms"}:
        return ()
    names = listed(sorted(unit[:20] for unit in units))
    return (f"{path}: the header gives lengths in {names}; they are taken as mm, as other readers do.",)
