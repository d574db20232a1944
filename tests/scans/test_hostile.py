"""Files with randomly changed headers are read or refused with one of our errors, never anything else."""

import gzip
import random
import re
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK

from sautomed.cli.convert import convert_file
from sautomed.errors import SautomedError
from sautomed.scans import ReadOptions, read_geometry, read_labels, read_scan
from sautomed.scans.formats import IMAGE_ENDINGS
from sautomed.scans.grid import NativeGrid
from sautomed.scans.write import write_image

WORDS = (
    b"-1", b"0", b"99999999999999999999", b"4294967296", b"nan", b"inf", b"1e308", b"(", b"none", b"../x", b"LIST",
    b"\n", b"\n\n", b":=", b"=", b"", b"gzip", b"ascii", b"LOCAL", b"\0", b"\xff\xfe", b"double", b"complex",
)  # fmt: skip
OPTIONS = (ReadOptions(), ReadOptions(frame=0, channel=0, resample=True, assume_spacing=True))
PEER_NAMES = ("a.nii", "b.nii.gz", "c.nrrd", "d.nhdr", "e.mha", "f.mhd", "g.mha", "h.nrrd")
OWN_NAMES = tuple(f"own{ending}" for ending in IMAGE_ENDINGS if not any(name.endswith(ending) for name in PEER_NAMES))
NAMES = PEER_NAMES + OWN_NAMES  # ours only if no other library writes the format


def write_valid_files(folder):
    array = np.random.default_rng(0).integers(0, 200, (5, 4, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1])), folder / "a.nii")
    nibabel.save(nibabel.Nifti2Image(array, np.diag([1, 1, 2, 1])), folder / "b.nii.gz")
    image = SimpleITK.GetImageFromArray(array)
    colours = SimpleITK.Compose(image, image, image)
    for name in PEER_NAMES[2:6]:
        SimpleITK.WriteImage(image, str(folder / name), useCompression=name[0] in "ce")
    for name in PEER_NAMES[6:]:
        SimpleITK.WriteImage(colours, str(folder / name))
    for name in OWN_NAMES:
        write_image(array, NativeGrid(array.shape, np.diag([1.0, 1, 2, 1])), folder / name)


def changed(content, rng, is_text):
    """Make one to four changes of bytes or words, mostly in the header."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        head = min(len(content), 560)
        words = list(re.finditer(rb"[^\s:=(),]+", bytes(content[:head])))
        turn = rng.random()
        if turn < 0.1 or head < 9:
            del content[rng.randrange(len(content) + 1) :]
        elif is_text and words and turn < 0.7:
            word = rng.choice(words)
            content[word.start() : word.end()] = rng.choice(WORDS)
        elif turn < 0.5:
            at = rng.randrange(0, head - 4, 2)
            content[at : at + 4] = rng.choice(
                (b"\xff" * 4, bytes(4), b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\xff\x7f")
            )
        else:
            content[rng.randrange(head)] = rng.randrange(256)
    return bytes(content)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_header_is_read_or_refused(tmp_path, name):
    rng = random.Random(name)
    write_valid_files(tmp_path)
    packed = name.endswith(".gz")
    whole = (tmp_path / name).read_bytes()
    content = gzip.decompress(whole) if packed else whole
    path = tmp_path / f"changed.{name}"
    faults = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy's warnings about overflow would reach the user
        for _ in range(80):
            now = changed(content, rng, ".nii" not in name)
            path.write_bytes(gzip.compress(now) if packed else now)
            for use in (read_geometry, read_scan, read_labels, converted):
                try:
                    use(path, options=rng.choice(OPTIONS))
                except SautomedError as fault:
                    faults.append(fault)
    assert len(faults) > 30
    assert all(fault.cure and fault.where.startswith(str(tmp_path)) for fault in faults)
    assert max(len(str(fault)) for fault in faults) < 2000


def converted(path, options):
    for ending in (".nii", ".seg.nrrd"):
        convert_file(path, path.parent / f"out{ending}", options, overwrite=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_anywhere_is_refused(tmp_path, name):
    write_valid_files(tmp_path)
    whole = (tmp_path / name).read_bytes()
    path = tmp_path / f"cut.{name}"
    for keep in range(0, len(whole), 7):
        path.write_bytes(whole[:keep])
        if name in ("d.nhdr", "f.mhd") and keep > len(whole) - 10:
            continue  # cuts the name of the data file, which may be that of another file
        with pytest.raises(SautomedError):
            read_scan(path, options=OPTIONS[1])
