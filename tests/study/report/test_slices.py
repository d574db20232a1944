import base64
from io import BytesIO

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from sautomed.scans.grid import NativeGrid
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap, Volume
from sautomed.study.report.cases import ShownCase
from sautomed.study.report.slices import choose_slice, cut_around, slices_picture

AFFINE = np.diag([5.0, 1.0, 1.0, 1.0])
NATIVE = NativeGrid((10, 200, 240), AFFINE)


def label_map(*blocks) -> LabelMap:
    array = np.zeros((10, 200, 240), np.uint8)
    for value, slices, rows, columns in blocks:
        array[slice(*slices), slice(*rows), slice(*columns)] = value
    return LabelMap(array, AFFINE, NATIVE, "axial")


def case(truth, boxes=None, **predictions) -> ShownCase:
    scan = Volume(np.linspace(0, 100, 10 * 200 * 240, dtype=np.float32).reshape(10, 200, 240), AFFINE, NATIVE, "axial")
    return ShownCase("case", scan, truth, predictions, boxes or {})


def picture_of(shown: ShownCase) -> np.ndarray:
    url = slices_picture(shown, {})
    assert url.startswith("data:image/webp;base64,")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)


def pixels_like(picture: np.ndarray, value: int) -> int:
    colour = np.array(to_rgb(colour_of(value))) * 255
    return int((np.abs(picture - colour).max(axis=2) < 60).sum())


TRUTH = label_map((1, (2, 9), (60, 100), (60, 100)), (2, (4, 7), (110, 140), (60, 100)))


def test_the_slice_has_most_organs_and_there_the_most_dispute():
    found = label_map((1, (2, 9), (60, 100), (60, 100)), (2, (4, 6), (110, 140), (60, 100)))
    assert choose_slice(TRUTH, {"a": found}) == 6
    assert choose_slice(TRUTH, {"a": label_map((2, (0, 1), (0, 200), (0, 240)))}) == 4  # not slice 0, which has none


def test_the_cut_holds_outlines_and_boxes_of_all_systems():
    shown = case(
        TRUTH, boxes={"a": {5: {1: (20.0, 150.0, 60.0, 190.0)}}}, a=label_map((1, (5, 6), (30, 40), (200, 230)))
    )
    cut = cut_around(shown, 5)
    assert cut.rows.start < 30
    assert cut.rows.stop > 189
    assert cut.columns.start < 20
    assert cut.columns.stop > 229


def test_the_cut_leaves_what_is_far_from_organs():
    cut = cut_around(case(TRUTH), 5)
    assert cut.columns.stop < 130


def test_a_box_is_drawn_only_on_the_slice_that_it_prompted():
    there, elsewhere = ({"a": {index: {7: (10.0, 10.0, 110.0, 190.0)}}} for index in (4, 1))
    assert pixels_like(picture_of(case(TRUTH, boxes=there, a=TRUTH)), 7) > 200
    assert pixels_like(picture_of(case(TRUTH, boxes=elsewhere, a=TRUTH)), 7) == 0


@pytest.mark.parametrize(("systems", "rows"), [(4, 1), (5, 2), (10, 3)])
def test_panels_go_on_in_the_next_row(systems, rows):
    one_row = picture_of(case(TRUTH, a=TRUTH, b=TRUTH, c=TRUTH))
    shown = picture_of(case(TRUTH, **{f"system_{i}": TRUTH for i in range(systems)}))
    assert round(shown.shape[0] / one_row.shape[0]) == rows


def test_pixels_are_as_high_in_mm_as_wide():
    flat = np.diag([5.0, 2.0, 1.0, 1.0])
    tall = LabelMap(TRUTH.array, flat, NATIVE, "axial")
    assert cut_around(case(tall), 5).aspect == pytest.approx(2.0)
