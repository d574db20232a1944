"""Read MetaImage: a text header, with the voxels after it (.mha) or in a file beside it (.mhd).

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sautomed.errors import NotThreeD, TruncatedFile, UnknownSpacing, UnsupportedVoxels
from sautomed.scans import text_header
from sautomed.scans.affine import (
    LPS_TO_RAS,
    affine_of,
    check_affine,
    check_choice,
    check_spacing,
    spacing_notes,
    unknown_orientation,
)
from sautomed.scans.grid import NativeGrid
from sautomed.scans.payload import CUT_SHORT, Encoding, Payload, check_size, end_notes, read_payload
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.text_header import damaged, not_read

_TYPES = {
    "met_char": "i1",
    "met_uchar": "u1",
    "met_short": "i2",
    "met_ushort": "u2",
    "met_int": "i4",
    "met_uint": "u4",
    "met_long": "i4",  # four bytes in this format, on every machine
    "met_ulong": "u4",
    "met_long_long": "i8",
    "met_ulong_long": "u8",
    "met_float": "f4",
    "met_double": "f8",
}
_SIGN = re.compile("[=:]")  # between name and value; ITK writes the first and reads both
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
# Older names of a field, and its name today.
_SYNONYMS = {
    "elementbyteordermsb": "binarydatabyteordermsb",
    "orientation": "transformmatrix",
    "rotation": "transformmatrix",
    "origin": "offset",
    "position": "offset",
}


@dataclass(frozen=True, eq=False)
class _Header:
    """A parsed header. The first stored axis is that of the channels, even if there is only one."""

    payload: Payload
    fields: dict[str, str]
    channel: int
    frame: int

    @property
    def shape(self) -> tuple[int, int, int]:
        _, a, b, c, *_ = self.payload.shape
        return a, b, c


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """Read the header; as `scans.read_geometry`."""
    return _geometry(_read_header(path, options), path, options)


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """Read header and voxels; as `scans.read_stored`. The header is checked first, which is cheap."""
    header = _read_header(path, options)
    geometry = _geometry(header, path, options)
    channels, *axes = header.payload.shape
    if channels == 1:  # the bytes of a volume are then consecutive
        plain = replace(header.payload, shape=tuple(axes))
        return Stored(geometry, read_payload(plain, path, header.frame))
    voxels = read_payload(header.payload, path).reshape(channels, *header.shape, -1, order="F")
    return Stored(geometry, np.array(voxels[header.channel, ..., header.frame], order="F"))


def _geometry(header: _Header, path: Path, options: ReadOptions) -> Geometry:
    affine, notes = _affine(header, path, options)
    check_affine(affine, path)
    native = NativeGrid(header.shape, affine)
    voxel_path = header.payload.path if header.payload.path != path else None
    kind = "detached header" if voxel_path else "attached header"
    packing = {"zlib": "compressed", "text": "text"}.get(header.payload.encoding, "not compressed")
    return Geometry(
        path,
        f"MetaImage, {kind}, {packing}",
        native,
        header.payload.dtype,
        (*notes, *spacing_notes(native.shape, native.spacing_mm, path), *end_notes(header.payload, path)),
        voxel_path=voxel_path,
    )


def _read_header(path: Path, options: ReadOptions) -> _Header:
    fields, end = _fields(path)
    axes = text_header.parse_integers(fields["dimsize"], path, "DimSize")
    if text_header.parse_integers(fields["ndims"], path, "NDims") != [len(axes)] or min(axes) < 1:
        raise damaged(path, f"NDims {fields['ndims'][:20]!r} and DimSize {fields['dimsize'][:60]!r} fit no image")
    if not 3 <= len(axes) <= 4:
        raise NotThreeD(
            f"has {len(axes)} axes of lengths {' x '.join(map(str, axes[:8]))}, but one 3D volume is needed.",
            where=path,
            cure="Stack the slices first, or give one volume.",
        )
    name = "ElementNumberOfChannels"
    channels = text_header.parse_integers(fields.get(name.lower(), "1"), path, name)[0]
    payload = _payload(fields, (channels, *axes), end, path)
    check_size(payload, path)
    volumes = axes[3] if len(axes) == 4 else 1
    frame = check_choice(options.frame, volumes, path, NotThreeD, "--frame", f"holds {volumes} volumes")
    content = f"stores {channels} channels{' (RGB?)' if channels in (3, 4) else ''} per voxel"
    channel = check_choice(options.channel, channels, path, UnsupportedVoxels, "--channel", content)
    return _Header(payload, fields, channel, frame)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields in lower case, and the byte after the header, whose last field is that of the data file."""
    start = text_header.read_start(path)
    fields: dict[str, str] = {}
    end = 0
    while end < len(start):
        newline = start.find(b"\n", end)
        line_end = len(start) if newline < 0 else newline + 1
        line = start[end:line_end].decode("utf-8", errors="replace").strip()
        end = line_end
        if not line or line.startswith("#"):
            continue
        name, *values = _SIGN.split(line, maxsplit=1)
        if not values:
            raise damaged(path, f"its line {line[:60]!r} is no field")
        key, value = name.strip().lower(), values[0]
        fields.setdefault(_SYNONYMS.get(key, key), value.strip())
        if key == "elementdatafile":
            break
    else:
        raise TruncatedFile(
            f"is truncated: it ends at byte {end}, within the MetaImage header.", where=path, cure=CUT_SHORT
        )
    for needed in ("NDims", "DimSize", "ElementType"):
        if needed.lower() not in fields:
            raise damaged(path, f"it lacks the field {needed}")
    return fields, end


def _payload(fields: dict[str, str], shape: tuple[int, ...], end: int, path: Path) -> Payload:
    dtype = np.dtype(text_header.look_up(fields["elementtype"], _TYPES, path, "ElementType"))
    dtype = dtype.newbyteorder(">" if _flag(fields, "binarydatabyteordermsb", "False", path) else "<")
    encoding: Encoding = "raw"
    if not _flag(fields, "binarydata", "True", path):
        encoding = "text"
    elif _flag(fields, "compresseddata", "False", path):
        encoding = "zlib"
    skip = text_header.parse_integers(fields.get("headersize", "0"), path, "HeaderSize")[0]
    attached = fields["elementdatafile"].upper() == "LOCAL"
    if skip < -1:
        raise damaged(path, f"its HeaderSize is {skip}")
    if (skip != 0 and attached) or (skip == -1 and encoding != "raw"):
        kind = "attached" if attached else "compressed or text"
        raise not_read(path, f"gives a HeaderSize of {skip} for {kind} voxels")
    if attached:
        return Payload(path, shape, dtype, encoding, end)
    payload = Payload(text_header.data_file(fields["elementdatafile"], path), shape, dtype, encoding, max(skip, 0))
    if skip == -1:  # the voxels are the last bytes of the file
        return replace(payload, start=payload.path.stat().st_size - payload.voxel_bytes)
    return payload


def _flag(fields: dict[str, str], name: str, default: str, path: Path) -> bool:
    return text_header.look_up(fields.get(name, default), _BOOLEANS, path, name)


def _affine(header: _Header, path: Path, options: ReadOptions) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine from index to RAS mm, and warnings."""
    fields = header.fields
    axes = len(header.payload.shape) - 1
    notes: tuple[str, ...] = _other_notes(fields, path)
    spacing = fields.get("elementspacing", fields.get("elementsize"))
    if spacing is None:
        raise UnknownSpacing(
            "gives no ElementSpacing, so its voxels have no size.",
            where=path,
            cure="Write it again with ElementSpacing, for example with 3D Slicer.",
        )
    spacing_mm = text_header.parse_floats(spacing, axes, path, "ElementSpacing")[:3]
    check_spacing(spacing_mm, path, "spacing (ElementSpacing)")
    if "transformmatrix" in fields:
        # Rows are the directions of the axes, in left-posterior-superior.
        rows = text_header.parse_floats(fields["transformmatrix"], axes * axes, path, "TransformMatrix")
        directions = rows.reshape(axes, axes)[:3, :3].T
    elif options.assume_spacing:
        directions = np.eye(3)
        notes += (f"{path}: gives no TransformMatrix; axes to left, posterior and superior are assumed, as ITK does.",)
    else:
        raise unknown_orientation(path, "no TransformMatrix")
    if "offset" not in fields:
        notes += (f"{path}: gives no Offset; its first voxel is put at 0 mm.",)
    origin_mm = text_header.parse_floats(fields.get("offset", "0 " * axes), axes, path, "Offset")[:3]
    with np.errstate(all="ignore"):  # check_affine refuses what is not finite
        return affine_of(directions * spacing_mm, origin_mm, LPS_TO_RAS), notes


def _other_notes(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    """Return warnings about fields that are ignored, as in other readers."""
    notes: tuple[str, ...] = ()
    unit = fields.get("distanceunits", "mm")
    if unit.lower() not in ("mm", "?", ""):
        notes += (f"{path}: the header gives lengths in {unit[:20]}; they are taken as mm, as other readers do.",)
    scaling = [
        fields.get(f"elementtointensityfunction{name}", plain) for name, plain in (("slope", "1"), ("offset", "0"))
    ]
    if [text_header.parse_floats(value, 1, path, "the intensity function")[0] for value in scaling] != [1, 0]:
        notes += (f"{path}: names an intensity function; it is not applied, as in ITK.",)
    return notes
