"""The preview: which slices are shown, in which window, and with which colours."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from sautomed.errors import GridMismatch
from sautomed.inference.preview import (
    SLICES,
    choose_slices,
    draw_preview,
    thumbnail_png,
)
from sautomed.scans.grid import NativeGrid
from sautomed.scans.palette import PALETTE, colour_of
from sautomed.scans.volume import LabelMap, Volume

NAMES = {1: "spleen", 2: "right_kidney", 3: "gallbladder"}


def scan(array: np.ndarray, spacing_mm=(5.0, 1.0, 1.0)) -> Volume:
    affine = np.diag([*spacing_mm, 1.0])
    return Volume(array.astype(np.float32), affine, NativeGrid(array.shape, affine), "axial")


def labels_on(volume: Volume, array: np.ndarray) -> LabelMap:
    return LabelMap(array.astype(np.uint8), volume.affine, volume.native, volume.plane, dict(NAMES))


@pytest.fixture
def ct() -> Volume:
    rng = np.random.default_rng(0)
    array = np.full((12, 40, 60), -1000.0)
    array[:, 5:35, 5:55] = rng.normal(50, 10, (12, 30, 50))
    return scan(array)


@pytest.fixture
def organs(ct) -> LabelMap:
    array = np.zeros(ct.array.shape)
    array[2:10, 10:20, 10:20] = 1
    array[5:7, 22:30, 30:50] = 2
    return labels_on(ct, array)


def lab_of(colour: str) -> np.ndarray:
    """CIE L*a*b* of an sRGB colour (D65)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    t = xyz / [0.9505, 1.0, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_thirteen_colours_can_be_told_apart_and_show_on_black():
    first = [lab_of(colour) for colour in PALETTE[:13]]
    assert min(np.linalg.norm(a - b) for a, b in combinations(first, 2)) > 20
    assert min(colour[0] for colour in first) > 45


def test_a_class_keeps_its_colour_and_the_palette_repeats():
    assert colour_of(1) == PALETTE[0]
    assert colour_of(len(PALETTE) + 2) == colour_of(2)


@given(st.integers(1, 30), st.integers(0, 29), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_slices_are_spread_over_the_labels_in_order(depth, first, length):
    classes = np.zeros((depth, 3, 3), dtype=np.uint8)
    classes[first : first + length] = 1
    chosen = choose_slices(classes > 0, classes)
    with_labels = np.flatnonzero(classes.any(axis=(1, 2)))
    allowed = with_labels if len(with_labels) else np.arange(depth)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(SLICES, len(allowed))
    assert set(chosen) <= set(allowed.tolist())


def test_of_a_stretch_the_slice_with_most_organs_is_shown():
    classes = np.ones((60, 4, 4), dtype=np.uint8)
    classes[7, 0, 0] = 2
    assert 7 in choose_slices(classes > 0, classes)


def test_the_picture_shows_each_organ_in_its_colour(ct, organs, tmp_path):
    draw_preview(ct, organs, tmp_path / "out.png")
    picture = imread(tmp_path / "out.png")[..., :3]
    for class_id, seen in ((1, True), (2, True), (3, False)):
        distance = np.abs(picture - to_rgb(colour_of(class_id))).max(axis=2)
        assert (distance < 0.05).any() == seen
    assert picture.shape[1] > 800


def test_a_reference_adds_dashed_white_outlines(ct, organs, tmp_path):
    moved = labels_on(ct, np.roll(organs.array, 6, axis=2))
    draw_preview(ct, organs, tmp_path / "without.png")
    draw_preview(ct, organs, tmp_path / "with.png", reference=moved)
    without, found = (imread(tmp_path / f"{name}.png") for name in ("without", "with"))
    assert found.shape[1] > without.shape[1], "the legend has room for the reference's volumes"


def test_pixels_keep_their_proportions(organs, ct, tmp_path):
    tall = scan(ct.array, spacing_mm=(5.0, 2.0, 1.0))
    draw_preview(ct, organs, tmp_path / "square.png")
    draw_preview(tall, labels_on(tall, organs.array), tmp_path / "tall.png")
    square, doubled = (dark_box(imread(tmp_path / f"{name}.png")) for name in ("square", "tall"))
    assert doubled == pytest.approx(2 * square, rel=0.15)


def dark_box(picture: np.ndarray) -> float:
    """Height over width of the first panel, which is the first dark block from the upper left."""
    dark = picture[..., :3].max(axis=2) < 0.2
    column = dark[:, 30]
    start = int(np.argmax(column))
    height = int(np.argmin(column[start:]))
    row = dark[start + 3]
    left = int(np.argmax(row))
    return height / int(np.argmin(row[left:]))


def test_no_label_one_slice_and_one_row_still_give_a_picture(ct, tmp_path):
    empty = labels_on(ct, np.zeros(ct.array.shape))
    draw_preview(ct, empty, tmp_path / "empty.png")
    for shape in ((1, 20, 20), (2, 20, 1)):
        small = scan(np.random.default_rng(0).normal(100, 5, shape))
        draw_preview(small, labels_on(small, np.ones(shape)), tmp_path / "small.png")
        assert imread(tmp_path / "small.png").size


def test_sixty_names_stand_in_columns_and_none_is_cut_off(ct, organs, tmp_path):
    organs.names.clear()
    organs.names.update({value: f"structure {value}" for value in range(1, 61)})
    draw_preview(ct, organs, tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")[..., :3]
    legend = picture[:, -int(picture.shape[1] * 0.55) :]
    rows = np.flatnonzero((legend < 0.5).any(axis=(1, 2)))
    assert rows.min() > 2
    assert rows.max() < len(picture) - 3


def test_a_long_name_is_not_cut_off_at_the_side(ct, organs, tmp_path):
    organs.names[3] = "a_name_that_is_much_longer_than_portal_and_splenic_vein"
    for reference in (None, organs):
        draw_preview(ct, organs, tmp_path / "a.png", reference)
        picture = imread(tmp_path / "a.png")[..., :3]
        columns = np.flatnonzero((picture < 0.5).any(axis=(0, 2)))
        assert columns.max() < picture.shape[1] - 3


def test_labels_of_another_grid_are_refused(ct, tmp_path):
    other = scan(np.zeros((3, 40, 60)))
    with pytest.raises(GridMismatch):
        draw_preview(ct, labels_on(other, np.zeros(other.array.shape)), tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_a_thumbnail_is_small_and_shows_what_is_labelled(ct, organs):
    picture = imread(BytesIO(thumbnail_png(ct, organs, width_px=200)))[..., :3]
    assert picture.shape[1] == 200
    for class_id in (1, 2):
        assert (np.abs(picture - to_rgb(colour_of(class_id))).max(axis=2) < 0.1).any()
    plain = imread(BytesIO(thumbnail_png(ct, None, width_px=200)))[..., :3]
    inner = plain[40:80, 40:160]
    assert np.ptp(inner, axis=2).max() < 0.02  # grey: nothing is drawn on it
