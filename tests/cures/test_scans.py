"""Refusals of scan files, followed to the letter: NIfTI, NRRD, MetaImage, and what is on the path to them."""

import errno
import gzip
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from sautomed.scans import read_scan
from sautomed.scans.paths import sha256_of

from ..bad_input.conftest import noise, patch, write
from ..scans.test_nrrd_segments import write_slicer

SPACE = "space: left-posterior-superior\nspace directions: (2,0,0) (0,2,0) (0,0,5)\nspace origin: (0,0,0)\n"
needs_permissions = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")


def nrrd(path, sizes=(8, 6, 4), fields=SPACE, encoding="raw", kind="short", endian="endian: little\n", content=None):
    """Write a NRRD file of increasing numbers."""
    numbers = np.arange(np.prod(sizes), dtype="<i2")
    text = (
        f"NRRD0004\ntype: {kind}\ndimension: {len(sizes)}\nsizes: {' '.join(map(str, sizes))}\n"
        f"encoding: {encoding}\n{endian}{fields}\n"
    )
    data = numbers.tobytes() if content is None else content
    path.write_bytes(text.encode() + (gzip.compress(data) if encoding == "gzip" else data))
    return path


def text_nrrd(path, words):
    return nrrd(path, encoding="text", content=b" ".join(words) + b"\n")


def metaimage(path, axes=(8, 6, 4), spacing="ElementSpacing = 2 2 5\n", data="LOCAL", ending=True):
    """Write a MetaImage of increasing numbers, or only its header."""
    identity = " ".join(map(str, np.eye(len(axes), dtype=int).ravel()))
    header = (
        f"ObjectType = Image\nNDims = {len(axes)}\nDimSize = {' '.join(map(str, axes))}\nElementType = MET_SHORT\n"
        f"TransformMatrix = {identity}\n{spacing}"
    )
    numbers = np.arange(np.prod(axes), dtype="<i2").tobytes()
    path.write_bytes(header.encode() + (f"ElementDataFile = {data}\n".encode() + numbers if ending else b""))
    return path


# --- cut short or damaged on the way: the whole file, copied again, is read ---


def shorter(content):
    return content[: len(content) - 100]


def header_cut(content):
    return content[:200]


def gzip_header_cut(content):
    return content[:20]


def bit_flipped(content):
    return content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]


def one_number_fewer(content):
    return content[: content.rindex(b" ")] + b"\n"


def letters_among_numbers(content):
    return content[: content.rindex(b" ")] + b" 1x1\n"


def promises_more(content):
    return content.replace(b"sizes: 8 6 4", b"sizes: 8 6 9")


def scanning_stops(content):
    """Return a file whose compressed stream ends regularly, but too early."""
    return gzip.compress(gzip.decompress(content)[:-100])


def text_words():
    return [str(number).encode() for number in range(8 * 6 * 4)]


TRANSFERS = [
    ("scans/payload.py first_bytes TruncatedFile", "a.nii.gz", write, gzip_header_cut),
    ("scans/payload.py _fill TruncatedFile", "a.nii.gz", write, scanning_stops),
    ("scans/payload.py _fill TruncatedFile 2", "a.nii.gz", write, shorter),
    ("scans/payload.py _fill TruncatedFile 3", "a.nii.gz", write, bit_flipped),
    ("scans/payload.py check_size TruncatedFile", "a.nii", write, shorter),
    ("scans/payload.py check_size TruncatedFile", "a.nrrd", nrrd, promises_more),
    (
        "scans/payload.py _read_text TruncatedFile",
        "a.nrrd",
        lambda path: text_nrrd(path, text_words()),
        one_number_fewer,
    ),
    (
        "scans/payload.py _read_text TruncatedFile 2",
        "a.nrrd",
        lambda path: text_nrrd(path, text_words()),
        letters_among_numbers,
    ),
    ("scans/nifti_file.py _header_type TruncatedFile", "a.nii", write, header_cut),
    ("scans/nrrd.py _fields TruncatedFile", "a.nrrd", nrrd, lambda content: content[:60]),
    ("scans/metaimage.py _fields TruncatedFile", "a.mha", metaimage, lambda content: content[: content.index(b"Elem")]),
]


@pytest.mark.parametrize(("key", "name", "make", "damage"), TRANSFERS)
def test_a_file_cut_short_is_copied_again(refuse, tmp_path, key, name, make, damage):
    source = make(tmp_path / name)
    copy = tmp_path / "copy" / name
    copy.parent.mkdir()
    copy.write_bytes(damage(source.read_bytes()))
    refusal = refuse(key, "info", copy).asks("Copy or download it again")
    shutil.copy(source, copy)
    refusal.works()


# --- headers that no program should have written: the file written again is read ---


def unknown_type(path):
    return patch(write(path), datatype=1)


def no_axes(path):
    return patch(write(path), dim=[0, 40, 32, 6, 1, 1, 1, 1])


def an_axis_of_nothing(path):
    return patch(write(path), dim=[3, 40, 0, 6, 1, 1, 1, 1])


def voxels_in_the_header(path):
    return patch(write(path), vox_offset=100)


def scaling_not_finite(path):
    return patch(write(path, noise().astype(np.int16)), scl_slope=2, scl_inter=np.inf)


def zero_spacing(path):
    return patch(write(path), pixdim=[1, 2, 2, 0, 1, 1, 1, 1])


def affine_not_finite(path):
    return patch(write(path), srow_x=[np.nan, 0, 0, 0])


def affine_in_one_plane(path):
    return patch(write(path), srow_x=[2, 2, 0, 0], srow_y=[0, 0, 0, 0])


def sheared_far(path):
    path = write(path, noise((80, 80, 80)))
    return patch(path, srow_x=[2, 0, 39, 0], srow_z=[0, 0, 1, 0], pixdim=[1, 2, 2, 39, 1, 1, 1, 1])


REWRITTEN = [
    ("scans/nifti_file.py _dtype_of UnsupportedVoxels", "a.nii", unknown_type, "as 16-bit integers or 32-bit floats"),
    ("scans/nifti_file.py _check_axes BadGeometry", "a.nii", no_axes, "Write or download it again"),
    ("scans/payload.py check_size BadGeometry", "a.nii", an_axis_of_nothing, "Write or download it again"),
    ("scans/nifti_file.py _offset_of BadGeometry", "a.nii", voxels_in_the_header, "with nibabel"),
    ("scans/nifti.py _slope_and_intercept UnsupportedVoxels", "a.nii", scaling_not_finite, "from its source"),
    ("scans/affine.py check_spacing BadGeometry", "a.nii", zero_spacing, "with nibabel"),
    ("scans/affine.py check_affine BadGeometry", "a.nii", affine_not_finite, "with nibabel"),
    ("scans/affine.py check_affine BadGeometry 2", "a.nii", affine_in_one_plane, "with nibabel"),
    ("scans/text_header.py damaged BadGeometry", "a.nrrd", lambda path: nrrd(path, endian=""), "Write it again"),
]


@pytest.mark.parametrize(("key", "name", "make", "words"), REWRITTEN)
def test_a_header_that_is_damaged_is_written_again(refuse, tmp_path, key, name, make, words):
    path = make(tmp_path / name)
    refusal = refuse(key, "convert", "-i", path, "-o", tmp_path / "out.mha").asks(words)
    write(path) if name.endswith("nii") else nrrd(path)
    refusal.works()


# --- several volumes or channels ---


@pytest.mark.parametrize("shape", [(8, 8, 4, 3), (8, 8, 4, 1, 3), (8, 8, 4, 2, 3)])
def test_one_of_several_volumes_or_channels_is_picked(refuse, tmp_path, shape):
    path = write(tmp_path / "a.nii.gz", noise(shape))
    options, extra = [], []
    for _ in range(sum(length > 1 for length in shape[3:])):
        refusal = refuse("scans/affine.py check_choice error", "info", path, *extra)
        options = refusal.take(r"to (--\w+) (\d+)\.")
        extra += options
    refusal.works(*options)


@pytest.mark.parametrize("option", ["--frame", "--channel"])
@pytest.mark.parametrize(("shape", "left"), [((8, 8, 4), True), ((8, 8, 4, 3, 3), False)])
def test_a_volume_or_channel_that_is_not_there(refuse, tmp_path, option, shape, left):
    other = [] if left else [{"--frame": "--channel", "--channel": "--frame"}[option], 0]
    path = write(tmp_path / "a.nii.gz", noise(shape))
    refusal = refuse("scans/affine.py check_choice error 2", "info", path, *other, option, 7)
    if left:
        refusal.asks(f"Leave {option} out")
        refusal = refuse_without(refusal, "info", path)
    else:
        refusal.works(*refusal.take(rf"to ({option}) (\d+)\."))


def refuse_without(refusal, *arguments):
    from sautomed import cli

    assert cli.run([str(argument) for argument in arguments]) == 0, refusal.error
    return refusal


def test_more_than_five_axes_are_split(refuse, tmp_path):
    image = nibabel.Nifti1Image(noise((8, 8, 4, 1, 1, 2)), np.diag([2, 2, 5, 1]))
    nibabel.save(image, tmp_path / "a.nii.gz")
    refusal = refuse("scans/nifti.py _choose NotThreeD", "info", tmp_path / "a.nii.gz").asks("give one volume")
    one = nibabel.Nifti1Image(np.asarray(image.dataobj)[..., 0, 0, 0], image.affine)
    nibabel.save(one, tmp_path / "a.nii.gz")
    refusal.works()


FLAT = "space dimension: 2\nspace directions: (2,0) (0,2)\nspace origin: (0,0)\n"
ONE_SLICE = [
    ("scans/metaimage.py _read_header NotThreeD", "a.mha", lambda path: metaimage(path, (8, 6)), "Stack the slices"),
    ("scans/nrrd.py _axes NotThreeD", "a.nrrd", lambda path: nrrd(path, (8, 6), FLAT), "with three space directions"),
    ("scans/nrrd.py _axes NotThreeD 2", "a.nrrd", lambda path: nrrd(path, (8, 6), ""), "Stack the slices"),
]


@pytest.mark.parametrize(("key", "name", "make", "words"), ONE_SLICE)
def test_slices_become_a_volume(refuse, tmp_path, key, name, make, words):
    refusal = refuse(key, "info", make(tmp_path / name)).asks(words)
    metaimage(tmp_path / name) if name.endswith("mha") else nrrd(tmp_path / name)
    refusal.works()


# --- orientation, spacing, shear ---


def test_an_unknown_orientation_is_assumed(refuse, tmp_path):
    path = patch(write(tmp_path / "a.nii"), qform_code=0, sform_code=0)
    refusal = refuse("scans/affine.py unknown_orientation UnknownSpacing", "info", path)
    refusal.works(refusal.take(r"--assume-\w+"))


@pytest.mark.parametrize("fields", ["spacings: 2 2 5\n", "space directions: (2,0,0) (0,2,0) (0,0,5)\n"])
def test_an_unknown_orientation_of_a_nrrd_is_assumed(refuse, tmp_path, fields):
    path = nrrd(tmp_path / "a.nrrd", fields=fields)
    refusal = refuse("scans/affine.py unknown_orientation UnknownSpacing", "info", path)
    refusal.works(refusal.take(r"--assume-\w+"))


@pytest.mark.parametrize("options", [[], ["--assume-spacing"]])
def test_a_nrrd_without_any_spacing_is_written_with_it(refuse, tmp_path, options):
    path = nrrd(tmp_path / "a.nrrd", fields="")
    refusal = refuse("scans/nrrd.py _spacings UnknownSpacing", "info", path, *options)
    refusal.asks("space directions")
    nrrd(path)
    refusal.works()


def test_a_metaimage_without_spacing_is_written_with_it(refuse, tmp_path):
    path = metaimage(tmp_path / "a.mha", spacing="")
    refusal = refuse("scans/metaimage.py _affine UnknownSpacing", "info", path)
    metaimage(path, spacing=f"{refusal.take('with (ElementSpacing)')} = 2 2 5\n")
    refusal.works()


def test_a_sheared_scan_is_resampled(refuse, tmp_path):
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 2] = 4
    path = write(tmp_path / "a.nii.gz", affine=affine)
    refusal = refuse("scans/orthogonal.py _straighten ShearedGrid", "info", path)
    refusal.works(refusal.take("--resample"))


def test_a_scan_sheared_into_a_line_is_written_again(refuse, tmp_path):
    path = sheared_far(tmp_path / "a.nii")
    first = refuse("scans/orthogonal.py _straighten ShearedGrid", "info", path)
    refusal = refuse("scans/orthogonal.py _straighten ShearedGrid 2", "info", path, first.take("--resample"))
    refusal.asks("Write it again from its source")
    write(path)
    refusal.works()


# --- formats that are not read, or by another name ---


def test_a_file_of_another_kind_is_replaced_by_a_scan(refuse, tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"\x89PNG\r\n")
    refusal = refuse("scans/formats.py format_of NotAScan", "info", path)
    assert set(refusal.take(r"a file of (NIfTI), (NRRD), (MetaImage) or (DICOM)"))
    write(path)
    refusal.works()


def test_bare_voxels_are_given_by_their_header(refuse, command, tmp_path):
    nrrd(tmp_path / "a.nhdr", fields=f"{SPACE}data file: a.raw\n", content=b"")
    (tmp_path / "a.raw").write_bytes(np.arange(192, dtype="<i2").tobytes())
    refusal = refuse("scans/formats.py format_of NotAScan", "info", tmp_path / "a.raw")
    assert command("info", tmp_path / refusal.take(r"Give its header (.+)\."))[0] == 0


def test_a_name_without_an_ending_gets_one(refuse, command, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    for name in ("out", "out.jpg"):
        refusal = refuse("scans/formats.py ending_of UnknownFormat", "convert", "-i", scan, "-o", tmp_path / name)
        name = refusal.take(r"Call it (.+), for example")
        assert command("convert", "-i", scan, "-o", tmp_path / name)[0] == 0


def test_a_pair_of_files_is_converted(refuse, tmp_path):
    image = nibabel.Nifti1Pair(noise(), np.diag([2.0, 2.0, 5.0, 1.0]))
    nibabel.save(image, tmp_path / "a.hdr")
    refusal = refuse("scans/nifti_file.py _header_type NotAScan", "info", tmp_path / "a.hdr").asks("with nibabel")
    target = tmp_path / ("a" + refusal.take(r"Convert it to (\.nii\.gz)"))
    nibabel.save(nibabel.Nifti1Image.from_image(nibabel.load(tmp_path / "a.hdr")), target)
    refuse_without(refusal, "info", target)


def test_a_nifti_reader_is_given_a_nifti_file(refuse_call, tmp_path):
    from sautomed.scans.nifti_file import read_header

    path = nrrd(tmp_path / "a.nrrd")
    refusal = refuse_call("scans/nifti_file.py _header_type NotAScan 2", read_header, path)
    refusal.works(write(tmp_path / ("a" + refusal.take(r"or (\.nii\.gz) file"))))


def test_voxels_as_much_text_are_written_as_binary(refuse, tmp_path, monkeypatch):
    monkeypatch.setattr("sautomed.scans.payload._MAX_TEXT_BYTES", 50)
    path = text_nrrd(tmp_path / "a.nrrd", text_words())
    refusal = refuse("scans/payload.py check_size NotAScan", "info", path).asks("with binary voxels")
    nrrd(path)
    refusal.works()


def test_voxels_in_several_files_are_written_as_one(refuse, tmp_path):
    path = metaimage(tmp_path / "a.mhd", data="slice%03d.raw")
    refusal = refuse("scans/text_header.py not_read NotAScan", "info", path).asks("Write it again as one file")
    metaimage(path)
    refusal.works()


def test_an_encoding_that_is_not_read_is_replaced_by_one_of_the_list(refuse, tmp_path):
    path = nrrd(tmp_path / "a.nrrd", encoding="bzip2")
    refusal = refuse("scans/text_header.py look_up NotAScan", "info", path)
    for encoding in re.split(", ", refusal.take(r"one of: (.+)\."))[:2]:
        nrrd(path, encoding=encoding)
        refusal.works()


def test_a_header_and_its_voxels_go_into_one_folder(refuse, tmp_path):
    voxels = tmp_path / "elsewhere" / "a.raw"
    voxels.parent.mkdir()
    voxels.write_bytes(np.arange(192, dtype="<i2").tobytes())
    path = tmp_path / "a.mhd"
    metaimage(path, data=str(voxels))
    refusal = refuse("scans/text_header.py data_file NotAScan", "info", path)
    refusal.asks("into one folder", "the bare file")
    metaimage(path, data="a.raw")
    moved = refuse("scans/text_header.py data_file MissingFile", "info", path).asks("Copy both files")
    shutil.copy(voxels, tmp_path)
    refusal.works()
    moved.works()


# --- values ---


def test_complex_numbers_become_magnitudes(refuse, tmp_path):
    array = noise((8, 8, 4)).astype(np.complex64)
    path = write(tmp_path / "a.nii.gz", array)
    refusal = refuse("scans/values.py require_numbers UnsupportedVoxels", "info", path).asks("to magnitude")
    write(path, np.abs(array))
    refusal.works()


def test_complex_numbers_of_a_nrrd_become_magnitudes(refuse, tmp_path):
    fields = f"{SPACE.replace('directions:', 'directions: none')}kinds: complex domain domain domain\n"
    path = nrrd(tmp_path / "a.nrrd", (2, 8, 6, 4), fields)
    refusal = refuse("scans/nrrd.py _choose UnsupportedVoxels", "info", path).asks("to magnitude")
    nrrd(path)
    refusal.works()


def segment_order(trained_run, tmp_path, scan):
    return "segment", "-i", scan, "-m", trained_run, "-o", tmp_path / "out.nii.gz", "--no-preview"


def test_a_constant_image_is_exported_again(refuse, trained_run, tmp_path):
    path = write(tmp_path / "a.nii.gz", np.full((8, 8, 4), 7, np.int16))
    order = segment_order(trained_run, tmp_path, path)
    refusal = refuse("scans/values.py intensities ConstantImage", *order).asks("Export the scan again")
    write(path)
    refusal.works()


@pytest.mark.parametrize("cure", ["export", "replace"])
def test_an_image_of_broken_voxels(refuse, trained_run, tmp_path, cure):
    array = noise()
    array[:20] = np.nan
    path = write(tmp_path / "a.nii.gz", array)
    order = segment_order(trained_run, tmp_path, path)
    refusal = refuse("scans/values.py _repair NonFiniteVoxels", *order)
    refusal.asks("Export the scan again", "replace them by the background value")
    write(path, noise() if cure == "export" else np.nan_to_num(array, nan=0.0))
    refusal.works()


LABELS = np.zeros((8, 8, 4), np.float32)
LABELS[2:5, 2:5] = 3
UNLABELLED = [
    ("scans/values.py whole_numbers NotIntegerLabels", LABELS - 1000, "give its label map"),
    ("scans/values.py _rounded NonFiniteVoxels", np.where(LABELS, LABELS, np.nan), "Export the label map again"),
    ("scans/values.py _rounded NotIntegerLabels", LABELS + 0.4, "resample it again by nearest neighbour"),
]


@pytest.mark.parametrize(("key", "array", "words"), UNLABELLED)
def test_a_label_map_is_given_in_place_of_what_is_none(refuse, tmp_path, key, array, words):
    truth = write(tmp_path / "truth.nii.gz", LABELS)
    given = write(tmp_path / "given.nii.gz", array.astype(np.float32))
    refusal = refuse(key, "evaluate", "-p", given, "-r", truth, "-o", tmp_path / "scores").asks(words)
    write(given, LABELS)
    refusal.works()


def test_an_undeclared_label_is_declared(refuse_call, tmp_path):
    from sautomed.scans import read_labels

    path = write(tmp_path / "a.nii.gz", LABELS)
    names = {1: "liver"}
    refusal = refuse_call("scans/read.py refuse_unknown_values UnknownLabels", read_labels, path, "auto", names)
    value = int(refusal.take(r"(\d+) \(\d+ voxels\)"))
    refusal.asks("Add the labels")
    refusal.works(path, "auto", names | {value: "spleen"})
    write(path, np.minimum(LABELS, 1))  # "or correct the label map"
    refusal.works()


def test_grids_that_differ_are_brought_together(refuse, blocks, tmp_path, stop_before_steps):
    from ..datasets.block_dataset import affine, organs

    matrix = affine()
    matrix[0, 3] += 1
    blocks.write_label(1, organs(1), matrix)
    order = ("train", "-d", blocks.folder, "-o", tmp_path / "run", "-c", "tiny", "--device", "cpu")
    small = ("--set", "data.image_size=128")
    refusal = refuse("scans/volume.py require_same_grid GridMismatch", *order, *small)
    refusal.works(refusal.take("--regrid-labels"))


# --- paths ---


def test_a_missing_file_has_a_neighbour_of_nearly_its_name(refuse, command, tmp_path):
    write(tmp_path / "patient_07.nii.gz")
    for order in (("info", "{}"), ("convert", "-i", "{}", "-o", str(tmp_path / "b.nrrd"))):
        given = [part.format(tmp_path / "patient_7.nii.gz") for part in order]
        refusal = refuse("scans/paths.py refuse_missing MissingFile 3", *given)
        name = refusal.take(r"Did you mean (.+)\?")
        assert command(*[part.format(tmp_path / name) for part in order])[0] == 0


def test_a_file_in_a_folder_that_is_not_there(refuse, tmp_path):
    path = tmp_path / "scans" / "a.nii.gz"
    refusal = refuse("scans/paths.py refuse_missing MissingFile 2", "info", path)
    write(tmp_path / "a.nii.gz")
    refuse_without(refusal.asks("Check the path"), "info", tmp_path / "a.nii.gz")


@pytest.mark.skipif(os.name != "posix", reason="Windows lets few users make links")
def test_a_link_leads_to_a_file_that_is_fetched(refuse, tmp_path):
    path = tmp_path / "a.nii.gz"
    path.symlink_to("objects/1f2e.nii.gz")
    refusal = refuse("scans/paths.py refuse_missing MissingFile", "info", path).asks("Fetch the file")
    write(tmp_path / refusal.take(r"link to (\S+),"))
    refusal.works()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_replaced_by_a_file(refuse, tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    refusal = refuse("scans/paths.py require_file MissingFile 2", "info", tmp_path / "a.nii.gz").asks("Name a file")
    refuse_without(refusal, "info", write(tmp_path / "b.nii.gz"))


def test_a_folder_in_place_of_a_file(refuse_call, blocks):
    from sautomed.scans.paths import read_json

    refusal = refuse_call("scans/paths.py require_file MissingFile", read_json, blocks.folder).asks(
        "Name one file in it"
    )
    refusal.works(blocks.folder / "dataset.json")


def test_a_file_in_place_of_a_folder(refuse, command, blocks):
    refusal = refuse("scans/paths.py require_folder MissingFile", "doctor", blocks.folder / "dataset.json")
    assert command("doctor", refusal.take(r"the folder that it is in, (.+); or"))[0] == 0


@pytest.mark.parametrize(
    ("key", "function"),
    [
        ("scans/paths.py unreadable MissingFile", read_scan),
        ("scans/paths.py _sha256_of_file MissingFile", lambda path: sha256_of([path])),
    ],
)
def test_permissions_are_given(refuse_call, tmp_path, closed, key, function):
    path = write(tmp_path / "a.nii.gz")
    closed.add(path)
    refusal = refuse_call(key, function, path).asks("permissions")
    closed.clear()
    refusal.works()


def test_permissions_of_the_folder_above_are_given(refuse_call, tmp_path, closed):
    path = write(tmp_path / "patient" / "a.nii.gz")
    closed.add(path.parent)
    refusal = refuse_call("scans/paths.py mode_of MissingFile", read_scan, path)
    closed.remove(Path(refusal.take(r"Change the permissions of (.+)\.$")))
    refusal.works()


JSON = [
    ("scans/paths.py read_json fault", lambda good: good.replace(b",", b";", 1)),
    ("scans/paths.py read_json fault 2", lambda good: good.replace(b"spleen", b"spl\xe9en")),
    (
        "scans/paths.py read_json fault 3",
        lambda good: good.replace(b'"numTraining": 5', b'"numTraining": ' + b"9" * 5000),
    ),
]


@pytest.mark.parametrize(("key", "spoil"), JSON)
def test_json_is_corrected(refuse, blocks, key, spoil):
    path = blocks.folder / "dataset.json"
    good = path.read_bytes()
    spoiled = spoil(good)
    path.write_bytes(spoiled)
    refusal = refuse(key, "doctor", blocks.folder)
    if key.endswith("fault"):
        line, column = map(int, refusal.take(r"line (\d+), column (\d+)"))
        assert line == 1
        path.write_bytes(spoiled[: column - 1] + b"," + spoiled[column:])  # "Correct the file at that place"
    elif key.endswith("2"):
        path.write_text(spoiled.decode("latin-1"), encoding=refusal.take(r"Save it as (UTF-8)"))
    else:
        refusal.asks("a shorter number")
        path.write_bytes(good)
    refusal.works()


def test_a_scan_that_needs_more_memory_than_is_free(refuse, tmp_path, monkeypatch):
    path = write(tmp_path / "a.nii.gz")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10_000))
    refusal = refuse("scans/payload.py read_payload MemoryShortage", "info", path)
    write(path, noise()[:10, :10, :5])  # "crop or resample the scan"
    refusal.asks("use a larger machine, or crop or resample the scan").works()


# --- what is written ---


@pytest.mark.parametrize("cure", ["free", "another"])
def test_a_disk_that_is_full(refuse, blocks, tmp_path, monkeypatch, stop_before_steps, cure):
    from sautomed.training import train

    prepare = train.prepare_fold

    def on_a_full_disk(plan, callbacks):
        if plan.run == tmp_path / "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        return prepare(plan, callbacks)

    monkeypatch.setattr("sautomed.training.train.prepare_fold", on_a_full_disk)
    small = ("-c", "tiny", "--device", "cpu", "--set", "data.image_size=128")
    order = ("train", "-d", blocks.folder, "-o", tmp_path / "full", *small)
    refusal = refuse("scans/files.py full_disk_reported UnwritableTarget", *order).asks("Free space there")
    if cure == "free":
        monkeypatch.setattr("sautomed.training.train.prepare_fold", prepare)
        refusal.works()
    else:
        refusal.works(refusal.take(r"another place with (-o)"), tmp_path / "other")


def test_a_file_in_place_of_a_folder_of_outputs(refuse, command, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    refusal = refuse("scans/files.py require_writable UnwritableTarget", "convert", "-i", scan, "-o", scan / "b.nii.gz")
    option = refusal.take(r"another place with (-o)")
    assert command("convert", "-i", scan, option, tmp_path / "b.nii.gz")[0] == 0


def test_a_name_that_is_too_long(refuse, command, tmp_path):
    scan = write(tmp_path / "a.nii.gz")
    name = "b" * 240 + ".nii.gz"
    refusal = refuse("scans/files.py require_writable UnwritableTarget 2", "convert", "-i", scan, "-o", tmp_path / name)
    option = refusal.take(r"a shorter name with (-o)")
    assert command("convert", "-i", scan, option, tmp_path / name[-20:])[0] == 0


@pytest.mark.parametrize("cure", ["remove", "another"])
def test_a_folder_where_a_file_must_be_written(refuse, tmp_path, cure):
    scan = write(tmp_path / "a.nii.gz")
    (tmp_path / "b.html").mkdir()
    from ..datasets.block_dataset import BlockDataset

    blocks = BlockDataset(tmp_path / "data")
    refusal = refuse(
        "scans/files.py require_writable_file UnwritableTarget", "doctor", blocks.folder, "-o", tmp_path / "b.html"
    )
    assert scan.exists()
    if cure == "remove":
        refusal.asks("Remove it")
        (tmp_path / "b.html").rmdir()
        refusal.works()
    else:
        refusal.works(refusal.take(r"another (-o)"), tmp_path / "c.html")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_where_a_file_must_be_written(refuse, tmp_path, blocks):
    os.mkfifo(tmp_path / "b.html")
    refusal = refuse(
        "scans/files.py _refuse_devices UnwritableTarget", "doctor", blocks.folder, "-o", tmp_path / "b.html"
    )
    refusal.works(refusal.take(r"another place with (-o)"), tmp_path / "c.html")


@needs_permissions
def test_a_folder_that_may_not_be_written(refuse_call, tmp_path):
    from sautomed.scans.files import write_text

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    refusal = refuse_call("scans/files.py atomic_write UnwritableTarget", write_text, closed / "a.txt", "text")
    refusal.asks("Choose another place", "permissions there")
    refusal.works(tmp_path / "a.txt", "text")
    closed.chmod(0o700)
    refusal.works()


@pytest.mark.parametrize("cure", ["layer", "save"])
def test_segments_that_overlap(refuse, tmp_path, cure):
    layers = np.zeros((2, 6, 5, 4), np.uint8)
    layers[:, 1:3] = 1
    path, segments = tmp_path / "a.seg.nrrd", [("liver", 1, 0), ("cyst", 1, 1)]
    write_slicer(path, layers, segments)
    order = "convert", "-i", path, "-o", tmp_path / "b.nii.gz", "--overwrite"
    refusal = refuse("scans/nrrd_segments.py merge_layers NotThreeD", *order)
    if cure == "layer":
        flag, first, last = refusal.take(r"convert (--frame) (\d) \(to (\d)\)")
        for layer in (first, last):
            refusal.works(flag, layer)
    else:
        refusal.asks("save the segments without overlap")
        layers[0, 2] = 0
        layers[1, 1] = 0
        write_slicer(path, layers, segments)
        refusal.works()
