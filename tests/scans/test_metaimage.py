"""MetaImage is read as SimpleITK reads it, and impossible headers are refused."""

import zlib

import numpy as np
import pytest
import SimpleITK

from sautomed import errors
from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan, read_stored

VALUES = np.arange(24, dtype=np.int16).reshape((2, 3, 4), order="F")
BYTES = VALUES.tobytes(order="F")
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "0 1 0 1 0 0 0 0 -1",
    "Offset": "10 20 30",
    "ElementSpacing": "1 2 3",
    "DimSize": "2 3 4",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def meta(path, voxels=BYTES, **changed):
    """Write a file with these fields, that of the data file last; None leaves a field out."""
    fields = FIELDS | changed
    last = fields.pop("ElementDataFile")
    lines = [f"{name} = {value}\n" for name, value in [*fields.items(), ("ElementDataFile", last)] if value is not None]
    path.write_bytes("".join(lines).encode() + voxels)
    return path


def refused(kind, path, *words, options=ReadOptions()):  # noqa: B008  frozen
    for read in (read_geometry, read_stored, read_scan, read_labels):
        with pytest.raises(kind) as caught:
            read(path, options=options)
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{path}: ")
        for word in words:
            assert word in str(caught.value), (word, str(caught.value))


def test_voxels_and_geometry_are_those_that_simpleitk_reads(tmp_path):
    path = meta(tmp_path / "a.mha")
    stored = read_stored(path)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(stored.voxels, VALUES)
    np.testing.assert_array_equal(stored.voxels, SimpleITK.GetArrayFromImage(image).T)
    place = image.TransformContinuousIndexToPhysicalPoint((1.0, 2.0, 3.0))
    np.testing.assert_allclose((stored.geometry.affine @ (1, 2, 3, 1))[:3], np.multiply(place, (-1, -1, 1)))
    assert stored.geometry.format == "MetaImage, attached header, not compressed"
    assert stored.geometry.warnings == ()


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, zlib.MAX_WBITS + 16])
def test_compressed_voxels(tmp_path, wbits):
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(VALUES.tobytes(order="F")) + packer.flush()
    path = meta(tmp_path / "a.mha", packed, CompressedData="True", CompressedDataSize=str(len(packed)))
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)


def test_a_large_compressed_file_is_read_piece_by_piece(tmp_path):
    values = np.zeros((64, 64, 64), np.int16)
    values[3, 5, 7] = 1
    packed = zlib.compress(values.tobytes(order="F"), 9)
    np.testing.assert_array_equal(
        read_stored(meta(tmp_path / "a.mha", packed, CompressedData="True", DimSize="64 64 64")).voxels, values
    )


def test_text_big_endian_and_old_names(tmp_path):
    text = " ".join(map(str, VALUES.ravel(order="F"))).encode()
    np.testing.assert_array_equal(read_stored(meta(tmp_path / "a.mha", text, BinaryData="False")).voxels, VALUES)
    big = VALUES.astype(">i2").tobytes(order="F")
    path = meta(tmp_path / "a.mha", big, BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True")
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)
    old = {"TransformMatrix": None, "Offset": None, "Rotation": FIELDS["TransformMatrix"], "Position": FIELDS["Offset"]}
    np.testing.assert_array_equal(
        read_geometry(meta(tmp_path / "a.mha", **old)).affine, read_geometry(meta(tmp_path / "b.mha")).affine
    )


def test_colons_and_comments_are_read_as_itk_reads_them(tmp_path):
    path = meta(tmp_path / "a.mha", Comment="a: b = c")
    header, _, _ = path.read_bytes().partition(b"LOCAL\n")
    other = header.replace(b" = ", b": ").replace(b"Offset", b"# a comment\n\nOffset")
    path.write_bytes(other + b"LOCAL\n" + BYTES)
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)
    np.testing.assert_array_equal(read_geometry(path).affine, read_geometry(meta(tmp_path / "b.mha")).affine)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T, VALUES)


@pytest.mark.parametrize("skip", ["5", "-1"])
def test_bytes_before_the_voxels_are_skipped(tmp_path, skip):
    (tmp_path / "a.raw").write_bytes(b"12345" + VALUES.tobytes(order="F"))
    path = meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw", HeaderSize=skip)
    np.testing.assert_array_equal(read_stored(path).voxels, VALUES)


def test_one_of_several_volumes_or_channels_is_read_by_its_number(tmp_path):
    values = np.arange(48, dtype=np.int16)
    path = meta(tmp_path / "a.mha", values.tobytes(), ElementNumberOfChannels="2")
    refused(errors.UnsupportedVoxels, path, "2 channels", "--channel 0 to --channel 1")
    np.testing.assert_array_equal(read_stored(path, ReadOptions(channel=1)).voxels.ravel(order="F"), values[1::2])
    four = {"NDims": "4", "DimSize": "2 3 4 2", "ElementSpacing": "1 2 3 1", "Offset": "0 0 0 0"}
    path = meta(tmp_path / "a.mha", values.tobytes(), TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", **four)
    refused(errors.NotThreeD, path, "holds 2 volumes", "--frame 0 to --frame 1")
    np.testing.assert_array_equal(read_stored(path, ReadOptions(frame=1)).voxels.ravel(order="F"), values[24:])
    refused(errors.NotThreeD, path, "no number 2", options=ReadOptions(frame=2))


def test_no_transform_matrix_is_no_orientation(tmp_path):
    path = meta(tmp_path / "a.mha", TransformMatrix=None)
    refused(errors.UnknownSpacing, path, "no TransformMatrix", "--assume-spacing")
    assert read_geometry(path, ReadOptions(assume_spacing=True)).native.axis_codes == "LPS"


def test_truncated_voxels_are_reported_with_their_bytes(tmp_path):
    path = meta(tmp_path / "a.mha")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    refused(errors.TruncatedFile, path, f"promises {len(whole)} bytes", f"ends at byte {len(whole) - 10}")
    packed = zlib.compress(VALUES.tobytes(order="F"))
    for keep in (-8, -2):  # among the voxels, and within the checksum behind them
        path = meta(tmp_path / "a.mha", packed[:keep], CompressedData="True")
        with pytest.raises(errors.TruncatedFile, match=r"breaks off after byte \d+ of 48"):
            read_stored(path)
    path = meta(tmp_path / "a.mha", packed[:-1] + b"?", CompressedData="True")
    with pytest.raises(errors.TruncatedFile, match="damaged"):
        read_stored(path)
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes()[:-1])
    refused(errors.TruncatedFile, meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw"), "its data file a.raw ends")


@pytest.mark.parametrize(
    ("changed", "fault", "word"),
    [
        ({"DimSize": "2 0 4"}, errors.BadGeometry, "fit no image"),
        ({"DimSize": "2 3"}, errors.BadGeometry, "fit no image"),
        ({"DimSize": "2 3 1e9"}, errors.BadGeometry, "whole numbers"),
        ({"DimSize": "99999999 99999999 99999999"}, errors.TruncatedFile, "promises"),
        ({"DimSize": None}, errors.BadGeometry, "lacks the field DimSize"),
        ({"NDims": "2", "DimSize": "6 4"}, errors.NotThreeD, "2 axes"),
        ({"ElementNumberOfChannels": "-1"}, errors.BadGeometry, "no voxels"),
        ({"ElementType": "MET_STRING"}, errors.NotAScan, "MET_STRING"),
        ({"CompressedData": "perhaps"}, errors.NotAScan, "perhaps"),
        ({"HeaderSize": "-7"}, errors.BadGeometry, "HeaderSize is -7"),
        ({"HeaderSize": "7"}, errors.NotAScan, "a HeaderSize of 7 for attached voxels, which is not read"),
        ({"HeaderSize": "-1"}, errors.NotAScan, "Write it again as one file, for example with 3D Slicer or SimpleITK"),
        ({"ElementSpacing": None}, errors.UnknownSpacing, "no size"),
        ({"ElementSpacing": "1 2"}, errors.BadGeometry, "3 numbers"),
        ({"ElementSpacing": "1 -2 3"}, errors.BadGeometry, "negative"),
        ({"ElementSpacing": "1 2 0"}, errors.BadGeometry, "zero"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, errors.BadGeometry, "singular"),
        ({"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}, errors.BadGeometry, "not finite"),
        ({"Offset": "inf 0 0"}, errors.BadGeometry, "not finite"),
        ({"ElementDataFile": "../a.raw"}, errors.NotAScan, "must be in the folder"),
        ({"ElementDataFile": "LIST"}, errors.NotAScan, "several files"),
        ({"ElementDataFile": "slice%03d.raw 1 4 1"}, errors.NotAScan, "several files"),
        ({"ElementDataFile": "b.raw"}, errors.MissingFile, "'b.raw'"),
        ({"ElementDataFile": None}, errors.BadGeometry, "damaged header"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, changed, fault, word):
    refused(fault, meta(tmp_path / "a.mha", **changed), word)


def test_ignored_fields_are_warned_of(tmp_path):
    path = meta(tmp_path / "a.mha", ElementToIntensityFunctionSlope="2", DistanceUnits="um")
    warnings = read_scan(path).warnings
    assert any("intensity function" in warning for warning in warnings)
    assert any("lengths in um" in warning for warning in warnings)
