"""Segments of 3D Slicer: names, values, and layers of segments that may overlap."""

import gzip

import numpy as np
import pytest

from sautomed import errors
from sautomed.scans import read_geometry, read_labels
from sautomed.scans.nrrd_segments import Segment, segments_of
from sautomed.scans.stored import ReadOptions


def write_slicer(path, array, segments):
    """Write (x y z), or (layers x y z), with [(name, value, layer)], as 3D Slicer does."""
    layered = array.ndim == 4
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {'none ' * layered}(2,0,0) (0,2,0) (0,0,5)",
        f"kinds: {'list ' * layered}domain domain domain",
        "encoding: gzip",
        "space origin: (-40,-30,-20)",
        "Segmentation_MasterRepresentation:=Binary labelmap",
    ]
    for number, (name, value, layer) in enumerate(segments):
        entry = {"Name": name, "LabelValue": value, "Layer": layer}
        lines += [f"Segment{number}_{key}:={text}" for key, text in entry.items() if text is not None]
    content = gzip.compress(array.astype(np.uint8).tobytes("F"))
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + content)
    return path


@pytest.fixture
def organs():
    array = np.zeros((6, 5, 4), np.uint8)
    array[1:3], array[4:] = 1, 2
    return array


def test_names_and_values_are_read_from_the_header(tmp_path, organs):
    path = write_slicer(tmp_path / "a.seg.nrrd", organs, [("Leber (groß)", 2, 0), ("a\\nb", 1, 0)])
    assert read_geometry(path).names == {2: "Leber (groß)", 1: "a\nb"}
    labels = read_labels(path)
    assert labels.names == {2: "Leber (groß)", 1: "a\nb"}
    np.testing.assert_array_equal(labels.to_native(), organs)
    swapped = read_labels(path, names={1: "leber groß", 2: "a b"})
    np.testing.assert_array_equal(swapped.to_native(), np.array([0, 2, 1])[organs])


def test_numbers_that_no_segment_can_have_are_left_out():
    pairs = {"Segment0_Name": "a", "Segment0_LabelValue": "70000", "Segment1_Name": "b", "Segment1_LabelValue": "-1"}
    pairs |= {"Segment2_LabelValue": "x", "Segment3_LabelValue": "0", "Segment4_Name": "c", "Segment4_LabelValue": "9"}
    assert segments_of(pairs | {"Segment5_Name": "d", "Segment5_LabelValue": "1", "Segment5_Layer": "?"}) == (
        Segment("c", 9, 0),
    )


def test_layers_without_overlap_are_one_label_map(tmp_path, organs):
    """Values are free in each layer: both organs have the value 1."""
    layers = np.stack([organs == 1, organs == 2])
    path = write_slicer(tmp_path / "a.seg.nrrd", layers, [("liver", 1, 0), ("spleen", 1, 1)])
    labels = read_labels(path)
    assert labels.names == read_geometry(path).names == {1: "liver", 2: "spleen"}
    np.testing.assert_array_equal(labels.to_native(), organs)


def test_files_from_before_slicer_4_11_have_a_layer_for_each_segment_and_no_values(tmp_path, organs):
    path = write_slicer(
        tmp_path / "a.seg.nrrd", np.stack([organs == 1, organs == 2]), [("liver", None, None), ("spleen", None, None)]
    )
    assert read_labels(path).names == {1: "liver", 2: "spleen"}
    np.testing.assert_array_equal(read_labels(path).to_native(), organs)


def test_segments_that_overlap_are_refused_by_name(tmp_path, organs):
    layers = np.stack([organs, (organs == 2) * 5])
    path = write_slicer(tmp_path / "a.seg.nrrd", layers, [("liver", 1, 0), ("spleen", 2, 0), ("cyst", 5, 1)])
    with pytest.raises(errors.NotThreeD, match=r"segments that overlap others: cyst \(40 voxels\).*--frame 0 to 1"):
        read_labels(path)
    first, second = (read_labels(path, options=ReadOptions(frame=frame)) for frame in (0, 1))
    assert (first.names, second.names) == ({1: "liver", 2: "spleen"}, {5: "cyst"})
    np.testing.assert_array_equal(first.to_native(), organs)
