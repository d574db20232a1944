"""NIfTI label maps carry the names of their labels in a header extension."""

import html

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension

from sautomed.scans import read_geometry, read_labels
from sautomed.scans.grid import NativeGrid
from sautomed.scans.label_names import is_placeholder
from sautomed.scans.nifti_names import MAX_BYTES
from sautomed.scans.volume import LabelMap

NAMES = {1: "liver", 2: "right kidney", 300: "<cyst> & \"co\" ]]> 'é'"}
TABLE = (
    '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension> <VolumeInformation Index="0"> <LabelTable>'
    '<Label Key="0" Red="0" Green="0" Blue="0" Alpha="0"><![CDATA[???]]></Label>'
    '<Label Key="1" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[spleen]]></Label>\n'
    '<Label Key="2" Red="0" Green="1" Blue="0" Alpha="1"><![CDATA[kidney_right]]></Label>'
    "</LabelTable></VolumeInformation></CaretExtension>  "
)


def label_map(names):
    array = np.zeros((3, 4, 5), np.uint16)
    array[1] = list(names)[:1] * 1 or 0
    return LabelMap(array, np.eye(4), NativeGrid((5, 4, 3), np.diag([2.0, 2, 5, 1])), "axial", names)


def foreign(path, content, code=0, image_type=nibabel.Nifti1Image):
    """A label map of another program, with an extension."""
    image = image_type(np.ones((4, 4, 3), np.uint8), np.eye(4))
    image.header.extensions.append(Nifti1Extension(code, content))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_names_come_back_and_other_programs_read_the_voxels(tmp_path, ending):
    path, labels = tmp_path / f"a{ending}", label_map(NAMES)
    labels.save(path)
    assert read_geometry(path).names == read_labels(path).names == NAMES
    np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), labels.to_native())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).T, labels.to_native())


def test_the_table_is_that_of_workbench(tmp_path):
    label_map(NAMES).save(tmp_path / "a.nii")
    (extension,) = nibabel.load(tmp_path / "a.nii").header.extensions
    assert extension.get_code() == 0
    text = extension.get_content().decode()
    assert '<Label Key="2" Red=' in text
    assert f">{html.escape('right kidney')}</Label>" in text


@pytest.mark.parametrize("image_type", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("code", [0, 30])
def test_the_names_of_totalsegmentator_are_read(tmp_path, code, image_type):
    path = foreign(tmp_path / "a.nii.gz", TABLE.encode(), code, image_type)
    assert read_labels(path).names == {1: "spleen", 2: "kidney_right"}


def test_big_endian_files_have_names_as_well(tmp_path):
    path, header = tmp_path / "a.nii", nibabel.Nifti1Header(endianness=">")
    image = nibabel.Nifti1Image(np.ones((4, 4, 3), np.uint8), np.eye(4), header)
    image.header.extensions.append(Nifti1Extension(0, TABLE.encode()))
    nibabel.save(image, path)
    assert path.read_bytes()[:4] == (348).to_bytes(4, "big")
    assert read_geometry(path).names == {1: "spleen", 2: "kidney_right"}


@pytest.mark.parametrize(
    "content", [b"", b"<Label Key='1'>a</Label>", b'<Label Key="99999">a</Label>', b"\xff\xfe<Label"]
)
def test_other_extensions_name_nothing(tmp_path, content):
    assert read_geometry(foreign(tmp_path / "a.nii", content)).names == {}
    assert read_geometry(foreign(tmp_path / "b.nii", TABLE.encode(), code=6)).names == {}  # a comment


@pytest.mark.parametrize("size", [-1, 0, 7, 2**31 - 1])
def test_an_extension_of_an_impossible_size_names_nothing(tmp_path, size):
    path = foreign(tmp_path / "a.nii", TABLE.encode())
    content = bytearray(path.read_bytes())
    content[352:356] = size.to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    assert read_geometry(path).names == {}


def test_names_beyond_a_limit_are_not_looked_for(tmp_path):
    path = foreign(tmp_path / "a.nii", b" " * MAX_BYTES + TABLE.encode())
    assert read_geometry(path).names == {}


def test_label_maps_without_names_have_no_extension(tmp_path):
    label_map({1: "label 1"}).save(tmp_path / "a.nii")
    assert not nibabel.load(tmp_path / "a.nii").header.extensions


@given(
    names=st.dictionaries(
        st.integers(1, 65535),
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="_"), min_size=1).map(str.strip)
        .filter(lambda name: name and not is_placeholder(name)),
        max_size=8,
    )
)  # fmt: skip
def test_any_names_come_back(names, tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "a.nii"
    label_map(names).save(path)
    assert read_geometry(path).names == names
