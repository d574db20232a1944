"""NRRD is read as SimpleITK reads it, and impossible headers are refused."""

import gzip

import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored

VALUES = np.arange(24, dtype=np.int16).reshape((2, 3, 4), order="F")
BYTES = VALUES.tobytes(order="F")
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}


def nrrd(path, voxels=BYTES, version="NRRD0005", end="\n\n", **changed):
    """Write a file with these fields; None leaves a field out, and underscores become blanks."""
    fields = FIELDS | {name.replace("_", " "): value for name, value in changed.items()}
    lines = [
        version,
        "# comment",
        "key:=a: b",
        *(f"{name}: {value}" for name, value in fields.items() if value is not None),
    ]
    path.write_bytes(("\n".join(lines) + end).encode() + voxels)
    return path


def refused(kind, path, *words, options=ReadOptions()):  # noqa: B008  frozen
    for read in (read_geometry, read_stored, read_scan, read_labels):
        with pytest.raises(kind) as caught:
            read(path, options=options)
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{path}: ")
        for word in words:
            assert word in str(caught.value), (word, str(caught.value))


def test_voxels_and_geometry_are_those_of_the_header(tmp_path):
    stored = read_stored(nrrd(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(stored.voxels, VALUES)
    np.testing.assert_array_equal(
        stored.geometry.affine, [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    )
    assert stored.geometry.format == "NRRD, attached header, raw"
    assert stored.geometry.warnings == ()


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("Left-Anterior-Superior", (-1, 1, 1)),
        ("LPS", (-1, -1, 1)),
    ],
)
def test_the_space_gives_the_directions_of_the_axes(tmp_path, space, signs):
    affine = read_geometry(nrrd(tmp_path / "a.nrrd", space=space)).affine
    np.testing.assert_array_equal(affine[:3, 3], np.multiply(signs, (10, 20, 30)))
    np.testing.assert_array_equal(np.diag(affine)[:3], np.multiply(signs, (1, 2, 3)))
    image = SimpleITK.ReadImage(str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(affine[:3, 3] * (-1, -1, 1), image.GetOrigin())


@pytest.mark.parametrize("changed", [{"space": None, "space_dimension": "3"}, {"space": "scanner-xyz"}])
def test_an_unknown_space_is_refused_unless_the_spacing_is_to_be_taken(tmp_path, changed):
    path = nrrd(tmp_path / "a.nrrd", **changed)
    refused(errors.UnknownSpacing, path, "does not give the orientation", "--assume-spacing")
    geometry = read_geometry(path, ReadOptions(assume_spacing=True))
    assert geometry.native.axis_codes == "LPS"
    assert "left-posterior-superior is assumed" in geometry.warnings[0]


def test_spacings_alone_are_no_orientation(tmp_path):
    changed = {"space": None, "space_directions": None, "space_origin": None, "spacings": "1 2 3"}
    path = nrrd(tmp_path / "a.nrrd", **changed)
    refused(errors.UnknownSpacing, path, "no space is named")
    assert read_geometry(path, ReadOptions(assume_spacing=True)).spacing_mm == (1, 2, 3)
    path = nrrd(tmp_path / "a.nrrd", **changed | {"spacings": None})
    refused(errors.UnknownSpacing, path, "voxels have no size", options=ReadOptions(assume_spacing=True))


@pytest.mark.parametrize("encoding", ["gzip", "gz", "ascii", "text", "txt"])
def test_other_encodings(tmp_path, encoding):
    text = " ".join(map(str, VALUES.ravel(order="F"))).encode()
    voxels = gzip.compress(VALUES.tobytes(order="F")) if encoding.startswith("gz") else text
    np.testing.assert_array_equal(read_stored(nrrd(tmp_path / "a.nrrd", voxels, encoding=encoding)).voxels, VALUES)


def test_big_endian_voxels_and_windows_line_ends(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", VALUES.astype(">i2").tobytes(order="F"), endian="big")
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)
    header, _, voxels = nrrd(tmp_path / "a.nrrd").read_bytes().partition(b"\n\n")
    path.write_bytes(header.replace(b"\n", b"\r\n") + b"\r\n\r\n" + voxels)
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)


@pytest.mark.parametrize(("skip", "lead"), [("5", b"12345"), ("-1", b"12345")])
def test_bytes_before_the_voxels_are_skipped(tmp_path, skip, lead):
    (tmp_path / "a.raw").write_bytes(lead + VALUES.tobytes(order="F"))
    path = nrrd(tmp_path / "a.nhdr", b"", data_file="a.raw", byte_skip=skip, end="\n")
    stored = read_stored(path)
    np.testing.assert_array_equal(stored.voxels, VALUES)
    assert stored.geometry.format == "NRRD, detached header, raw"


def test_one_of_several_volumes_or_channels_is_read_by_its_number(tmp_path):
    values = np.arange(48, dtype=np.int16).reshape((2, 2, 3, 4), order="F")
    shape = {"dimension": "4", "sizes": "2 2 3 4", "space_directions": "none (1,0,0) (0,2,0) (0,0,3)"}
    path = nrrd(tmp_path / "a.nrrd", values.tobytes(order="F"), kinds="list domain domain domain", **shape)
    refused(errors.NotThreeD, path, "holds 2 volumes", "--frame 0 to --frame 1")
    np.testing.assert_array_equal(read_stored(path, ReadOptions(frame=1)).voxels, values[1])
    path = nrrd(tmp_path / "a.nrrd", values.tobytes(order="F"), kinds="vector domain domain domain", **shape)
    refused(errors.UnsupportedVoxels, path, "2 channels", "--channel 0 to --channel 1")
    np.testing.assert_array_equal(read_stored(path, ReadOptions(channel=1)).voxels, values[1])
    path = nrrd(tmp_path / "a.nrrd", values.tobytes(order="F"), kinds="complex domain domain domain", **shape)
    refused(errors.UnsupportedVoxels, path, "complex", options=ReadOptions(channel=0))


def test_colours_as_simpleitk_writes_them_need_a_channel(tmp_path):
    SimpleITK.WriteImage(SimpleITK.Image([3, 4, 5], SimpleITK.sitkVectorUInt8, 3), str(tmp_path / "a.nrrd"))
    refused(errors.UnsupportedVoxels, tmp_path / "a.nrrd", "3 channels (RGB?)", "--channel 0 to --channel 2")


def test_truncated_voxels_are_reported_with_their_bytes(tmp_path):
    path = nrrd(tmp_path / "a.nrrd")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    refused(errors.TruncatedFile, path, f"promises {len(whole)} bytes", f"ends at byte {len(whole) - 10}")
    path = nrrd(tmp_path / "a.nrrd", gzip.compress(VALUES.tobytes(order="F"))[:-12], encoding="gzip")
    with pytest.raises(errors.TruncatedFile, match=r"breaks off after byte \d+ of 48"):
        read_stored(path)
    path = nrrd(tmp_path / "a.nrrd", gzip.compress(VALUES.tobytes(order="F")[:40]), encoding="gzip")
    with pytest.raises(errors.TruncatedFile, match=r"promises 48 bytes, but its compressed stream ends at byte 40"):
        read_stored(path)
    path = nrrd(tmp_path / "a.nrrd", b"1000 " * 25, encoding="ascii", sizes="5 3 2")
    with pytest.raises(errors.TruncatedFile, match="promises 30 numbers, but the file holds 25"):
        read_stored(path)


def test_a_damaged_stream_is_reported(tmp_path):
    packed = bytearray(gzip.compress(VALUES.tobytes(order="F")))
    packed[-6] ^= 0xFF  # in the checksum
    with pytest.raises(errors.TruncatedFile, match="CRC"):
        read_stored(nrrd(tmp_path / "a.nrrd", bytes(packed), encoding="gzip"))


def test_bytes_after_the_voxels_are_warned_of(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", VALUES.tobytes(order="F") + b"12345")
    assert "5 bytes after the voxels" in read_scan(path).warnings[0]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../a.raw", "must be in the folder"),
        ("/etc/passwd", "must be in the folder"),
        ("sub\\a.raw", "must be in the folder"),
        ("C:a.raw", "must be in the folder"),
        ("LIST", "several files"),
        ("a.%03d.raw 1 3 1", "several files"),
    ],
)
def test_voxels_are_only_read_from_beside_the_header(tmp_path, name, word):
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "sub").mkdir()
    refused(errors.NotAScan, nrrd(tmp_path / "sub" / "a.nhdr", b"", data_file=name), word)


@pytest.mark.parametrize("first_line", ["LIST", "LIST 2", "list"])
def test_a_list_of_data_files_is_named_as_such(tmp_path, first_line):
    for number in range(4):
        (tmp_path / f"s{number}.raw").write_bytes(VALUES[:, :, number].tobytes(order="F"))
    names = "".join(f"s{number}.raw\n" for number in range(4))
    path = nrrd(tmp_path / "a.nhdr", names.encode(), data_file=first_line, end="\n")
    refused(errors.NotAScan, path, "several files", "Write it again as one file, for example with 3D Slicer or Simple")
    if first_line != "list":  # ITK reads capitals only
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(tmp_path / "one.nrrd"))  # the cure works
        np.testing.assert_array_equal(read_stored(tmp_path / "one.nrrd").voxels, VALUES)


@pytest.mark.parametrize(
    ("changed", "lead", "word"),
    [
        ({"line_skip": "1"}, b"hello\n", "skips 1 lines"),
        ({"byte_skip": "-1", "encoding": "gzip"}, b"", "-1 bytes before its voxels (gzip)"),
    ],
)
def test_a_valid_header_that_is_not_supported_is_not_called_damaged(tmp_path, changed, lead, word):
    voxels = gzip.compress(BYTES) if "encoding" in changed else BYTES
    path = nrrd(tmp_path / "a.nrrd", lead + voxels, **changed)
    refused(errors.NotAScan, path, word, "which is not read. Write it again")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(tmp_path / "one.nrrd"))  # the cure works
    np.testing.assert_array_equal(read_stored(tmp_path / "one.nrrd").voxels, VALUES)


def test_a_space_of_two_dimensions_is_no_volume(tmp_path):
    flat = {"space": None, "space_dimension": "2", "space_directions": "(1,0) (0,2) none", "space_origin": "(0,0)"}
    refused(errors.NotThreeD, nrrd(tmp_path / "a.nrrd", **flat), "a space of 2 dimensions", "three space directions")


def test_a_missing_data_file_is_named(tmp_path):
    refused(errors.MissingFile, nrrd(tmp_path / "a.nhdr", b"", data_file="b.raw"), "'b.raw'", "Copy both files")


@pytest.mark.parametrize(
    ("changed", "fault", "word"),
    [
        ({"sizes": "2 -3 4"}, errors.BadGeometry, "fit no image"),
        ({"sizes": "2 3"}, errors.BadGeometry, "fit no image"),
        ({"sizes": "2 3 x"}, errors.BadGeometry, "whole numbers"),
        ({"sizes": "99999999 99999999 99999999"}, errors.TruncatedFile, "promises"),
        ({"sizes": None}, errors.BadGeometry, "lacks the field 'sizes'"),
        ({"endian": None}, errors.BadGeometry, "lacks the field 'endian'"),
        ({"encoding": "bzip2"}, errors.NotAScan, "'bzip2'"),
        ({"type": "block"}, errors.NotAScan, "'block'"),
        ({"line_skip": "-3"}, errors.BadGeometry, "skips -3 lines"),
        ({"byte_skip": "-2"}, errors.BadGeometry, "-2 bytes"),
        ({"space_directions": "(1,0,0) (0,2,0)"}, errors.BadGeometry, "differ in their numbers of axes"),
        ({"space_directions": "(1,0) (0,2,0) (0,0,1)"}, errors.BadGeometry, "a space direction"),
        ({"space_directions": "one two three"}, errors.BadGeometry, "space directions"),
        ({"space_directions": "(1,0,0) (0,nan,0) (0,0,1)"}, errors.BadGeometry, "not finite"),
        ({"space_directions": "(1,0,0) (2,0,0) (0,0,1)"}, errors.BadGeometry, "singular"),
        ({"space_directions": "(1,0,0) (0,0,0) (0,0,1)"}, errors.BadGeometry, "spacing"),
        ({"space_directions": "(1,0,0) (0,500,0) (0,0,1)"}, errors.BadGeometry, "500"),
        ({"space_origin": "(1,2,1e30)"}, errors.BadGeometry, "reaches further"),
        ({"space_origin": "nowhere"}, errors.BadGeometry, "space origin"),
        (
            {"dimension": "2", "sizes": "6 4", "kinds": None, "space_directions": None},
            errors.NotThreeD,
            "2 axes in space",
        ),
    ],
)
def test_impossible_headers_are_refused(tmp_path, changed, fault, word):
    refused(fault, nrrd(tmp_path / "a.nrrd", **changed), word)


def test_a_header_that_never_ends_is_truncated(tmp_path):
    refused(errors.TruncatedFile, nrrd(tmp_path / "a.nrrd", b"", end="\n"), "within the NRRD header")


def test_other_units_are_warned_of(tmp_path):
    assert "lengths in um" in read_scan(nrrd(tmp_path / "a.nrrd", space_units='"um" "um" "um"')).warnings[0]
    assert read_scan(nrrd(tmp_path / "a.nrrd", space_units='"mm" "mm" "mm"')).warnings == ()
