"""Real organs lie on real edges: the true order is found among all others."""

from pathlib import Path

import numpy as np
import pytest

from sautomed.datasets.chaos.picture_order import Order, propose, verify
from sautomed.errors import PictureOrder
from sautomed.scans import read_labels, read_scan

HERE = Path("Ground")


def order_of(count, sure=True):
    return Order(tuple(HERE / f"{index}.png" for index in range(count)), sure)


@pytest.mark.slow
def test_on_real_scans_the_true_order_passes_and_others_do_not(shared_data):
    data = shared_data / "Dataset001_CHAOST2"
    for path in sorted((data / "labelsTr").glob("*.nii.gz"))[::4]:
        scan = read_scan(data / "imagesTr" / path.name.replace(".nii", "_0000.nii"), "axial").array
        labels = read_labels(path, "axial").array.astype(np.uint8)
        order = order_of(len(labels))
        assert verify(scan, labels, order, HERE) == (False, ()), path.name
        shuffled = labels[np.random.default_rng(0).permutation(len(labels))]
        moved = np.roll(labels, 2, axis=0)
        wrong = {
            "upside": labels[:, ::-1], "left": labels[:, :, ::-1], "back": labels[::-1], "shuffled": shuffled,
            "lying": labels.transpose(0, 2, 1), "moved": moved,
        }  # fmt: skip
        for array in wrong.values():
            with pytest.raises(PictureOrder):
                verify(scan, array, order, HERE)
        assert verify(scan, labels[::-1], order_of(len(labels), sure=False), HERE)[0]


def test_names_come_before_numbers():
    members = ["a/IMG-2.dcm", "a/IMG-1.dcm", "a/IMG-3.dcm"]
    found = propose([HERE / f"IMG-{i}.png" for i in (1, 2, 3)], members, [1, 2, 3], HERE)
    assert ([path.stem for path in found.pictures], found.sure) == (["IMG-2", "IMG-1", "IMG-3"], True)


def test_without_names_numbers_follow_each_other():
    found = propose([HERE / f"GT_{i}.png" for i in (2, 10, 9)], ["x", "y", "z"], [30, 10, 20], HERE)
    assert ([path.stem for path in found.pictures], found.sure) == (["GT_10", "GT_2", "GT_9"], False)


@pytest.mark.parametrize("numbers", [[None, None, None], [1, 1, 1]])
def test_without_instance_numbers_the_names_of_the_slices_are_counted(numbers):
    found = propose([HERE / f"GT_{i}.png" for i in (0, 1, 2)], ["s11.dcm", "s9.dcm", "s10.dcm"], numbers, HERE)
    assert [path.stem for path in found.pictures] == ["GT_2", "GT_0", "GT_1"]


def test_the_number_of_pictures_must_be_that_of_the_slices():
    with pytest.raises(PictureOrder, match="2 label pictures, but the series has 3 slices") as caught:
        propose([HERE / "1.png", HERE / "2.png"], ["a", "b", "c"], [1, 2, 3], HERE)
    assert caught.value.id == "SAM-E0323"


def test_noise_tells_nothing_and_refuses_nothing():
    """Without any edge to follow, the names are believed."""
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 40, 50), np.uint8)
    labels[1:7, 10:30, 12:30] = 1
    backwards, notes = verify(rng.standard_normal((8, 40, 50)).astype(np.float32), labels, order_of(8), HERE)
    assert not backwards
    assert "could not be verified" in notes[0]
