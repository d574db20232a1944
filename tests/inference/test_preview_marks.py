"""Boxes in a preview lie where they are, and what a person gave is marked."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sautomed.inference.preview import choose_slices
from sautomed.inference.preview_marks import draw_marks, legend_of_marks, marks_of
from sautomed.inference.prompts.document import GivenAbsence, GivenBox, LockedSlice
from sautomed.scans.palette import colour_of

from .prompts.documents import document


@pytest.fixture
def axes():
    return Figure().subplots()


def test_a_box_goes_around_its_pixels_dashed_in_the_organs_colour(axes):
    draw_marks(axes, marks_of(document())[1], (0, 0))
    [box] = axes.patches
    assert box.get_bbox().extents.tolist() == [0.5, 1.5, 4.5, 6.0]  # pixel 1 is drawn from 0.5 to 1.5
    assert to_hex(box.get_edgecolor()) == colour_of(1).lower()
    assert not box.get_fill()
    assert box.get_linestyle() != "-"
    assert not axes.lines


def test_boxes_move_with_the_part_that_is_shown(axes):
    draw_marks(axes, marks_of(document())[1], (2, 1))
    assert axes.patches[0].get_bbox().extents.tolist() == [-0.5, -0.5, 3.5, 4.0]


def test_given_boxes_have_marked_corners_and_absent_organs_are_named(axes):
    edited = document(locked=(LockedSlice(index=1, masks={}),)).with_edits(
        {(1, "liver"): GivenBox(box=(2.0, 3.0, 6.0, 7.0)), (1, "spleen"): GivenAbsence()},
        (),
        (LockedSlice(index=1, masks={}),),
    )
    found = marks_of(edited)
    draw_marks(axes, found[1], (0, 0))
    [corners] = axes.lines
    assert corners.get_xydata().tolist() == [[1.5, 2.5], [5.5, 2.5], [5.5, 6.5], [1.5, 6.5]]
    assert [text.get_text() for text in axes.texts] == ["not here: spleen\nlocked"]
    assert (found[1].is_given, found[2].is_given) == (True, False)
    assert 0 not in found


def test_the_legend_names_what_is_drawn():
    edited = marks_of(document().with_edits({(1, "liver"): GivenBox(box=(2.0, 3.0, 6.0, 7.0))}, (), ()))
    labels = [
        [entry.get_label() for entry in legend_of_marks(part)] for part in ([], [edited[2]], list(edited.values()))
    ]
    assert labels == [[], ["box that prompted an organ"], ["box that prompted an organ", "given by a person"]]


def test_slices_with_something_given_are_shown_rather_than_others():
    classes = np.ones((60, 4, 4), np.uint8)
    classes[7, 0, 0] = 2
    assert 7 in choose_slices(classes > 0, classes)
    chosen = choose_slices(classes > 0, classes, {3, 48})
    assert {3, 48} <= set(chosen)
    assert len(chosen) == 6
