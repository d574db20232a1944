"""Faults of a dataset: functions that damage a `BlockDataset` in one way each, and the finding that each must give."""

import gzip
import shutil

import numpy as np

from ..block_dataset import SPACING, affine, organs, scan


def changed(array, place, value):
    """Return a copy of the array with `value` at `place`."""
    array = array.copy()
    array[place] = value
    return array


def truncate(blocks):
    content = blocks.image(2).read_bytes()
    blocks.image(2).write_bytes(content[: len(content) // 2])


def shorten_label(blocks):
    blocks.write_label(2, organs(2)[:, :, :-1])


def shift_label(blocks):
    moved = affine()
    moved[0, 3] += SPACING[0]
    blocks.write_label(2, organs(2), moved)


def unknown_value(blocks):
    blocks.write_label(2, changed(organs(2), (20, 20, slice(0, 3)), 7))


def float_label(blocks):
    blocks.write_label(2, organs(2).astype(np.float32))


def half_label(blocks):
    blocks.write_label(2, changed(organs(2).astype(np.float32), (20, 20, 5), 0.5))


def empty_label(blocks):
    blocks.write_label(2, np.zeros_like(organs(2)))


def exchange_kidneys(blocks):
    blocks.write_label(2, np.array([0, 1, 3, 2, 4], np.uint8)[organs(2)])


def mirror(blocks):
    blocks.write_image(2, np.ascontiguousarray(scan(2)[::-1]))
    blocks.write_label(2, np.ascontiguousarray(organs(2)[::-1]))


def stand_on_head(blocks):
    blocks.write_image(2, np.ascontiguousarray(scan(2)[:, :, ::-1]))
    blocks.write_label(2, np.ascontiguousarray(organs(2)[:, :, ::-1]))


def few_nan(blocks):
    blocks.write_image(2, changed(scan(2).astype(np.float32), (0, 0, 0), np.nan))


def many_nan(blocks):
    blocks.write_image(2, changed(scan(2).astype(np.float32), (slice(0, 4), 0), np.nan))


def constant(blocks):
    blocks.write_image(2, np.full_like(scan(2), 7))


def plus_1024(blocks):
    blocks.write_image(2, scan(2) + 1024)


def window_255(blocks):
    blocks.write_image(2, np.clip((scan(2) + 160) * 255 / 400, 0, 255).astype(np.uint8))


def window_1(blocks):
    blocks.write_image(2, np.clip((scan(2) + 160) / 400, 0, 1).astype(np.float32))


def no_air(blocks):
    blocks.write_image(2, np.clip(scan(2), -160, 240))


def padding(blocks):
    blocks.write_image(2, changed(scan(2), (0, slice(None), 0), -8000))


def turned_sform(blocks):
    angle = np.radians(5)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    blocks.write_image(2, scan(2), affine(), sform=turn @ affine())
    blocks.write_label(2, organs(2), turn @ affine())


def plain_named_gz(blocks):
    blocks.image(2).write_bytes(gzip.decompress(blocks.image(2).read_bytes()))


def other_spacing(blocks):
    matrix = affine((8.0, 8.0, 4.0))  # whose field of view is smaller too, by less than what counts
    blocks.write_image(2, scan(2), matrix @ np.diag([1, 1, 0.8, 1]))
    blocks.write_label(2, organs(2), matrix @ np.diag([1, 1, 0.8, 1]))


def no_label(blocks):
    blocks.label(2).unlink()


def no_image(blocks):
    blocks.image(2).unlink()


def second_channel(blocks):
    shutil.copy(blocks.image(2), blocks.image(2).with_name("case_2_0001.nii.gz"))


def small_spleen(blocks):
    labels = organs(2)
    labels[labels == 4] = 0
    labels[6, 10, 8] = 4
    blocks.write_label(2, labels)


def copied_scan(blocks):
    shutil.copy(blocks.image(1), blocks.image(2))


def copied_label(blocks):
    shutil.copy(blocks.label(1), blocks.label(2))


_OTHER_NAMES = {4: "Liver", 1: "spleen", 2: "Right kidney", 3: "LEFT_KIDNEY"}


def other_numbers(blocks):
    blocks.name_labels(2, np.array([0, 4, 2, 3, 1], np.uint8)[organs(2)], _OTHER_NAMES)


def unknown_name(blocks):
    blocks.name_labels(2, organs(2), {1: "Leber", 2: "right kidney"})


FAULTS = {
    truncate: ("readable", "error", "case_2"),
    shorten_label: ("grids", "error", "case_2"),
    shift_label: ("grids", "error", "case_2"),
    unknown_value: ("label values", "error", "case_2"),
    half_label: ("label values", "error", "case_2"),
    other_numbers: ("label names", "note", ""),
    unknown_name: ("label names", "error", "case_2"),
    float_label: ("label type", "note", "case_2"),
    empty_label: ("empty", "warning", "case_2"),
    exchange_kidneys: ("orientation", "error", "case_2"),
    mirror: ("orientation", "error", "case_2"),
    stand_on_head: ("orientation", "error", "case_2"),
    few_nan: ("finite", "warning", "case_2"),
    many_nan: ("finite", "error", "case_2"),
    constant: ("constant", "error", "case_2"),
    plus_1024: ("intensities", "error", "case_2"),
    window_255: ("intensities", "error", "case_2"),
    window_1: ("intensities", "error", "case_2"),
    no_air: ("intensities", "warning", "case_2"),
    padding: ("intensities", "warning", "case_2"),
    turned_sform: ("header", "warning", "case_2"),
    plain_named_gz: ("file name", "warning", "case_2"),
    other_spacing: ("unlike", "warning", "case_2"),
    no_label: ("pairs", "error", ""),
    no_image: ("pairs", "error", ""),
    second_channel: ("extra files", "warning", ""),
    small_spleen: ("volumes", "warning", "case_2"),
    copied_scan: ("duplicates", "error", "case_1"),
    copied_label: ("duplicates", "warning", "case_1"),
}
