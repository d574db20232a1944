import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb

from sautomed.scans.grid import NativeGrid, Plane, orient
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap
from sautomed.study.report.surfaces import View, render_surfaces, view_of

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])  # RAS


def label_map(*blocks, plane: Plane = "axial") -> LabelMap:
    """Blocks (value, x, y, z) in a file whose axes grow to the right, to the front and to the head."""
    array = np.zeros((60, 50, 24), np.uint8)
    for value, *place in blocks:
        array[tuple(slice(*ends) for ends in place)] = value
    native = NativeGrid(array.shape, AFFINE)
    turned, affine = orient(array, native, plane)
    return LabelMap(np.ascontiguousarray(turned), affine, native, plane)


def places_of(picture: np.ndarray, value: int) -> np.ndarray:
    """Rows and columns of the pixels that have an organ's hue."""
    hsv = rgb_to_hsv(picture / 255)
    hue = rgb_to_hsv(to_rgb(colour_of(value)))[0]
    return np.argwhere((np.abs(hsv[..., 0] - hue) < 0.03) & (hsv[..., 1] > 0.4))


def render(labels: LabelMap) -> np.ndarray:
    return render_surfaces(labels, view_of([labels]))


RIGHT_LEFT = ((1, (40, 55), (20, 32), (8, 16)), (2, (5, 20), (20, 32), (8, 16)))
HEAD_FEET = ((1, (20, 35), (20, 32), (14, 22)), (2, (20, 35), (20, 32), (2, 10)))
FRONT_BACK = ((1, (20, 35), (36, 46), (2, 22)), (2, (20, 35), (4, 14), (8, 16)))


def test_the_patients_right_is_on_the_left():
    picture = render(label_map(*RIGHT_LEFT))
    assert places_of(picture, 1)[:, 1].max() < places_of(picture, 2)[:, 1].min()


def test_the_head_is_up():
    picture = render(label_map(*HEAD_FEET))
    assert places_of(picture, 1)[:, 0].mean() < places_of(picture, 2)[:, 0].mean() - 30


def test_what_lies_in_front_hides_what_lies_behind():
    alone = render_surfaces(label_map(FRONT_BACK[1]), view_of([label_map(*FRONT_BACK)]))
    both = render(label_map(*FRONT_BACK))
    assert len(places_of(both, 2)) < len(places_of(alone, 2))


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_a_label_map_looks_nearly_the_same_whatever_its_slices_are(plane):
    axial, other = label_map(*RIGHT_LEFT), label_map(*RIGHT_LEFT, plane=plane)
    view = view_of([axial])
    seen, other_seen = (np.any(render_surfaces(labels, view) < 250, axis=2) for labels in (axial, other))
    assert 2 * (seen & other_seen).sum() / (seen.sum() + other_seen.sum()) > 0.93


def test_a_ball_is_round_in_spite_of_thick_slices():
    array = np.zeros((24, 60, 60), np.uint8)
    place = np.moveaxis(np.indices(array.shape), 0, -1) - (12, 30, 30)
    array[((place * (5, 2, 2)) ** 2).sum(-1) < 40**2] = 1
    labels = LabelMap(
        array, np.eye(4)[[2, 1, 0, 3]] @ np.diag([5.0, 2.0, 2.0, 1.0]), NativeGrid((1, 1, 1), AFFINE), "axial"
    )
    seen = np.any(render(labels) < 250, axis=2)
    height, width = (np.ptp(np.flatnonzero(seen.any(axis=axis))) + 1 for axis in (1, 0))
    assert height == pytest.approx(width, rel=0.06)
    assert seen.sum() == pytest.approx(np.pi / 4 * height * width, rel=0.03)


def test_nothing_to_be_seen_is_white():
    empty = label_map()
    assert (render_surfaces(empty, View((0, 0, 0), (10, 10))) == 255).all()
    assert (render(empty) == 255).all()


def test_a_single_voxel_is_seen():
    assert len(places_of(render(label_map((1, (30, 31), (20, 21), (10, 11)))), 1)) > 2
