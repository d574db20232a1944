"""MetaImage: a text header and voxels behind it (.mha) or in a file beside it (.mhd).

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

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
    refuse_unknown_orientation,
    spacing_notes,
)
from sautomed.scans.grid import NativeGrid
from sautomed.scans.payload import CUT_SHORT, Encoding, Payload, check_promise, end_notes, read_payload
from sautomed.scans.stored import Geometry, ReadOptions, Stored
from sautomed.scans.text_header import damaged

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
_YES = {"true": "1", "t": "1", "1": "1", "false": "", "f": "", "0": ""}
# Several names of one field; the first is today's.
_SYNONYMS = {
    "elementbyteordermsb": "binarydatabyteordermsb",
    "orientation": "transformmatrix",
    "rotation": "transformmatrix",
    "origin": "offset",
    "position": "offset",
}


@dataclass(frozen=True, eq=False)
class _Header:
    """A header understood. The first stored axis is that of the channels, whether or not there are several."""

    payload: Payload
    fields: dict[str, str]
    channel: int
    frame: int

    @property
    def shape(self) -> tuple[int, int, int]:
        _, a, b, c, *_ = self.payload.shape
        return a, b, c


def read_geometry(path: Path, options: ReadOptions) -> Geometry:
    """As `io.read_geometry`, of a MetaImage."""
    return _described(_read_header(path, options), path, options)


def read_stored(path: Path, options: ReadOptions) -> Stored:
    """As `io.read_stored`, of a MetaImage. The header is judged first: it is cheap."""
    header = _read_header(path, options)
    geometry = _described(header, path, options)
    channels, *axes = header.payload.shape
    if channels == 1:  # then a volume is one run of bytes
        plain = replace(header.payload, shape=tuple(axes))
        return Stored(geometry, read_payload(plain, path, header.frame))
    voxels = read_payload(header.payload, path).reshape(channels, *header.shape, -1, order="F")
    return Stored(geometry, np.array(voxels[header.channel, ..., header.frame], order="F"))


def _described(header: _Header, path: Path, options: ReadOptions) -> Geometry:
    affine, notes = _affine(header, path, options)
    check_affine(affine, path)
    native = NativeGrid(header.shape, affine)
    kind = "detached header" if header.payload.path != path else "attached header"
    packing = {"zlib": "compressed", "text": "text"}.get(header.payload.encoding, "not compressed")
    return Geometry(
        path,
        f"MetaImage, {kind}, {packing}",
        native,
        header.payload.dtype,
        (*notes, *spacing_notes(native.shape, native.spacing_mm, path), *end_notes(header.payload, path)),
    )


def _read_header(path: Path, options: ReadOptions) -> _Header:
    fields, end = _fields(path)
    axes = text_header.whole_numbers(fields["dimsize"], path, "DimSize")
    if text_header.whole_numbers(fields["ndims"], path, "NDims") != [len(axes)] or min(axes) < 1:
        raise damaged(path, f"NDims {fields['ndims'][:20]!r} and DimSize {fields['dimsize'][:60]!r} fit no image")
    if not 3 <= len(axes) <= 4:
        raise NotThreeD(
            f"has {len(axes)} axes of lengths {' x '.join(map(str, axes[:8]))}, but one 3D volume is needed.",
            where=path,
            cure="Stack the slices first, or give one volume.",
        )
    channels = text_header.whole_numbers(fields.get("elementnumberofchannels", "1"), path, "ElementNumberOfChannels")[0]
    payload = _payload(fields, (channels, *axes), end, path)
    check_promise(payload, path)
    volumes = axes[3] if len(axes) == 4 else 1
    frame = check_choice(options.frame, volumes, path, NotThreeD, "--frame", f"holds {volumes} volumes")
    told = f"stores {channels} channels{' (RGB?)' if channels in (3, 4) else ''} per voxel"
    channel = check_choice(options.channel, channels, path, UnsupportedVoxels, "--channel", told)
    return _Header(payload, fields, channel, frame)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields in lower case, and the byte behind the header, which the field of the data file ends."""
    start = text_header.read_start(path)
    fields: dict[str, str] = {}
    end = 0
    while end < len(start):
        newline = start.find(b"\n", end)
        line_end = len(start) if newline < 0 else newline + 1
        name, sign, value = start[end:line_end].decode("utf-8", errors="replace").partition("=")
        end = line_end
        if not name.strip():
            continue
        if not sign:
            raise damaged(path, f"its line {name[:60]!r} is no field")
        key = name.strip().lower()
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
    dtype = np.dtype(text_header.one_of(fields["elementtype"], _TYPES, path, "ElementType"))
    dtype = dtype.newbyteorder(">" if _yes(fields, "binarydatabyteordermsb", "False", path) else "<")
    encoding: Encoding = "raw"
    if not _yes(fields, "binarydata", "True", path):
        encoding = "text"
    elif _yes(fields, "compresseddata", "False", path):
        encoding = "zlib"
    skip = text_header.whole_numbers(fields.get("headersize", "0"), path, "HeaderSize")[0]
    attached = fields["elementdatafile"].upper() == "LOCAL"
    if skip < -1 or (skip != 0 and attached) or (skip == -1 and encoding != "raw"):
        raise damaged(path, f"it skips {skip} bytes (HeaderSize), which is not read")
    if attached:
        return Payload(path, shape, dtype, encoding, end)
    payload = Payload(text_header.data_file(fields["elementdatafile"], path), shape, dtype, encoding, max(skip, 0))
    if skip == -1:  # the voxels are the last bytes of the file
        return replace(payload, start=payload.path.stat().st_size - payload.voxel_bytes)
    return payload


def _yes(fields: dict[str, str], name: str, default: str, path: Path) -> bool:
    return bool(text_header.one_of(fields.get(name, default), _YES, path, name))


def _affine(header: _Header, path: Path, options: ReadOptions) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Index to RAS mm, and warnings."""
    fields = header.fields
    axes = len(header.payload.shape) - 1
    notes: tuple[str, ...] = _other_notes(fields, path)
    spacing = fields.get("elementspacing", fields.get("elementsize"))
    if spacing is None:
        raise UnknownSpacing(
            "gives no ElementSpacing, so its voxels have no size.", where=path, cure="Write it again from its source."
        )
    spacing_mm = text_header.numbers(spacing, axes, path, "ElementSpacing")[:3]
    check_spacing(spacing_mm, path, "spacing (ElementSpacing)")
    if "transformmatrix" in fields:
        # Each axis in turn gives its direction, in left-posterior-superior.
        turns = text_header.numbers(fields["transformmatrix"], axes * axes, path, "TransformMatrix").reshape(axes, axes)
        directions = turns[:3, :3].T
    elif options.assume_spacing:
        directions = np.eye(3)
        notes += (f"{path}: gives no TransformMatrix; axes to left, posterior and superior are assumed, as ITK does.",)
    else:
        raise refuse_unknown_orientation(path, "no TransformMatrix")
    if "offset" not in fields:
        notes += (f"{path}: gives no Offset; its first voxel is put at 0 mm.",)
    origin_mm = text_header.numbers(fields.get("offset", "0 " * axes), axes, path, "Offset")[:3]
    with np.errstate(all="ignore"):  # what is not finite is refused next
        return affine_of(directions * spacing_mm, origin_mm, LPS_TO_RAS), notes


def _other_notes(fields: dict[str, str], path: Path) -> tuple[str, ...]:
    """Warnings for fields that other readers pass over too."""
    notes: tuple[str, ...] = ()
    unit = fields.get("distanceunits", "mm")
    if unit.lower() not in ("mm", "?", ""):
        notes += (f"{path}: the header gives lengths in {unit[:20]}; they are taken as mm, as other readers do.",)
    scaling = [
        fields.get(f"elementtointensityfunction{name}", plain) for name, plain in (("slope", "1"), ("offset", "0"))
    ]
    if [text_header.numbers(value, 1, path, "the intensity function")[0] for value in scaling] != [1, 0]:
        notes += (f"{path}: names an intensity function; it is not applied, as in ITK.",)
    return notes
