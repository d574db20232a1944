"""Organs in 3D: a label map seen from the front, drawn by orthographic ray casting. No surface is triangulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from sautomed.scans.grid import spacing_of
from sautomed.scans.palette import colour_of
from sautomed.scans.volume import LabelMap
from sautomed.study.report.cases import ShownCase
from sautomed.study.report.plotting import COLUMNS, panel_grid, photo_url, title_panel

TURN_DEG = 20.0  # ours: about the body's long axis, so that the organs' depth can be seen
TILT_DEG = 12.0  # ours: from slightly above
LIGHT = np.array([-0.45, 0.62, -0.65])  # towards the lamp, in right, up, away: it hangs at the upper left
AMBIENT, GLOSS, GLOSS_POWER = 0.38, 0.18, 24  # ours
SMOOTH_MM = 2.0  # of the field whose gradient is the normal; ours, so that voxels do not show as steps
CAP_MM = 3.0  # half a slice at most beyond an organ's end slices
PIXEL_MM, DEPTH_MM = 1.0, 1.8
MARGIN_MM = 8.0  # around the organs; a thick slice reaches as far beyond its middle
STEP_MM = 2.0  # about, between planes that are interpolated where slices are thicker
_FAR = 1e6


@dataclass(frozen=True)
class Stage:
    """What all pictures of one case share, so that they can be compared: the place looked at and the picture's size.

    Args:
        centre_mm: RAS.
        half_mm: Half the width and half the height of the picture.
    """

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return 2 * int(self.half_mm[1] / PIXEL_MM) + 1, 2 * int(self.half_mm[0] / PIXEL_MM) + 1


def stage_of(label_maps: list[LabelMap]) -> Stage:
    """The stage on which every organ of every label map is seen whole."""
    axes = _view_axes()
    seen = np.concatenate([_borders_mm(labels) @ axes.T for labels in label_maps] or [np.zeros((0, 3))])
    if not len(seen):
        return Stage((0.0, 0.0, 0.0), (50.0, 50.0))
    low, high = seen.min(axis=0), seen.max(axis=0)
    centre = axes.T @ ((low + high) / 2)
    half = (high - low) / 2 + MARGIN_MM
    return Stage((float(centre[0]), float(centre[1]), float(centre[2])), (float(half[0]), float(half[1])))


def render_surfaces(labels: LabelMap, stage: Stage) -> NDArray[np.uint8]:
    """The organs from the front: head up, the patient's right on the left.

    Each organ is interpolated between its slices by its in-plane distance field, so thick slices show no steps; nothing
    is taken away, and an organ ends half a slice beyond its last one, at most `CAP_MM`.

    Args:
        labels: In any plane.
        stage: From `stage_of`, the same for all label maps of a case.
    Returns:
        Colours (rows, columns, 3) on white.
    Source: Raya and Udupa 1990, IEEE TMI 9(1) (shape-based interpolation); Levoy 1988, IEEE CG&A 8(3) (shading from
        the gradient).
    """
    rows, columns = stage.shape
    colours = np.ones((rows, columns, 3), np.float32)
    depths = np.full((rows, columns), _FAR, np.float32)
    turn_to = _view_axes()[2]
    fields = [_field_of(labels, int(class_id)) for class_id in np.unique(labels.array[labels.array > 0])]
    # From the farthest to the nearest, so that a nearer organ's soft edge mixes with what lies behind it.
    for field in sorted(fields, key=lambda field: -float(field.middle_mm @ turn_to)):
        _draw_organ(colours, depths, field, stage)
    return (np.clip(colours, 0, 1) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class _Field:
    """A distance (mm, positive inside an organ), on a grid around it, with the affine of that grid."""

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    colour: NDArray[np.float32]

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        """The middle of the grid, RAS."""
        return np.asarray((self.affine @ np.append((np.array(self.values.shape) - 1) / 2, 1.0))[:3])


def _view_axes() -> NDArray[np.float64]:
    """Rows: the picture's right, its up, and away from the viewer, in RAS."""
    turn, tilt = np.deg2rad(TURN_DEG), np.deg2rad(TILT_DEG)
    right = np.array([-np.cos(turn), np.sin(turn), 0.0])  # the patient's left is on the right
    level = np.array([-np.sin(turn), -np.cos(turn), 0.0])  # from front to back
    head = np.array([0.0, 0.0, 1.0])
    away = np.cos(tilt) * level - np.sin(tilt) * head
    up = np.cos(tilt) * head + np.sin(tilt) * level
    return np.stack([right, up, away])


def _borders_mm(labels: LabelMap) -> NDArray[np.float64]:
    """The middles of the voxels at the border of what is labelled, (n 3) in RAS."""
    occupied = labels.array > 0
    border = np.argwhere(occupied & ~ndimage.binary_erosion(occupied))
    return np.asarray(border @ labels.affine[:3, :3].T + labels.affine[:3, 3])


def _field_of(labels: LabelMap, class_id: int) -> _Field:
    """The in-plane distance to an organ's outline, slice by slice, with a slice of outside at either end."""
    mask, affine = labels.array == class_id, labels.affine
    around: Any = ndimage.find_objects(mask.astype(np.uint8))[0]
    spacing_mm = labels.spacing_mm
    margin = (0, *(int(np.ceil(6 / mm)) for mm in spacing_mm[1:]))
    start = [part.start - width for part, width in zip(around, margin, strict=True)]
    organ = np.pad(mask[around], [(width, width) for width in margin])
    reach_mm = min(spacing_mm[0] / 2, CAP_MM)
    planes = [_plane_distance(plane, spacing_mm[1:]) for plane in organ]
    # Between the last slice and this one the distance falls to zero `reach_mm` behind it, whatever the organ's width.
    outside = [np.minimum(-end * (spacing_mm[0] / reach_mm - 1), -0.5) for end in (planes[0], planes[-1])]
    values = np.stack([outside[0], *planes, outside[1]]).astype(np.float32)
    start[0] -= 1
    finer = max(1, round(spacing_mm[0] / STEP_MM))
    if finer > 1:  # monotonously, so that no surface bulges where no slice has it
        at = np.arange((len(values) - 1) * finer + 1) / finer
        values = PchipInterpolator(np.arange(len(values)), values, axis=0)(at).astype(np.float32)
    placed = affine.copy()
    placed[:3, 3] = (affine @ np.array([*start, 1.0]))[:3]
    placed[:3, 0] /= finer
    return _Field(values, placed, np.array(to_rgb(colour_of(class_id)), np.float32))


def _plane_distance(plane: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    if not plane.any():
        return np.full(plane.shape, -4.0)
    inside = ndimage.distance_transform_edt(plane, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~plane, sampling=spacing_mm)
    half = min(spacing_mm) / 2  # the outline lies between voxels, not on them
    return np.clip(np.where(plane, inside - half, half - outside), -8.0, 8.0)


def _draw_organ(colours: NDArray[np.float32], depths: NDArray[np.float32], field: _Field, stage: Stage) -> None:
    """Add one organ to the picture wherever it lies before what has been drawn."""
    values, place, to_field = _turned(field, stage)
    rows, columns = slice(place[0], place[0] + values.shape[0]), slice(place[1], place[1] + values.shape[1])
    nearest_to_surface = values.max(axis=2)
    cover = np.clip(0.5 + nearest_to_surface / PIXEL_MM, 0, 1)  # of a pixel on the outline, a part only
    inside = values > 0
    first = np.where(nearest_to_surface > 0, inside.argmax(axis=2), values.argmax(axis=2))
    depth = place[2] + first * DEPTH_MM
    drawn = (cover > 0) & (depth < depths[rows, columns])
    shade = _shaded(field, to_field, np.argwhere(drawn), first[drawn])
    mixed = cover[drawn][:, None]
    colours[rows, columns][drawn] = mixed * shade + (1 - mixed) * colours[rows, columns][drawn]
    solid = drawn & (nearest_to_surface > 0)
    depths[rows, columns][solid] = depth[solid]


def _turned(field: _Field, stage: Stage) -> tuple[NDArray[np.float32], tuple[int, int, float], NDArray[np.float64]]:
    """The field on the grid of the view (row, column, depth), cut to the organ.

    Returns:
        The field; the row, column and depth (mm) in the picture where it begins; what takes its index to the field's.
    """
    axes = _view_axes()
    rows, columns = stage.shape
    shape = np.array(field.values.shape)
    ends = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    seen = ((ends @ field.affine.T)[:, :3] - stage.centre_mm) @ axes.T  # right, up, away, in mm
    low = np.array([rows // 2 - seen[:, 1].max() / PIXEL_MM, columns // 2 + seen[:, 0].min() / PIXEL_MM])
    high = np.array([rows // 2 - seen[:, 1].min() / PIXEL_MM, columns // 2 + seen[:, 0].max() / PIXEL_MM])
    low, high = np.maximum(np.floor(low), 0).astype(int), np.minimum(np.ceil(high) + 1, (rows, columns)).astype(int)
    nearest = float(seen[:, 2].min())
    size = (int(high[0] - low[0]), int(high[1] - low[1]), int((seen[:, 2].max() - nearest) / DEPTH_MM) + 2)
    # From an index of the view to RAS, then on to an index of the field.
    to_mm = np.eye(4)
    to_mm[:3, 0], to_mm[:3, 1], to_mm[:3, 2] = -axes[1] * PIXEL_MM, axes[0] * PIXEL_MM, axes[2] * DEPTH_MM
    to_mm[:3, 3] = stage.centre_mm + axes.T @ np.array(
        [(low[1] - columns // 2) * PIXEL_MM, (rows // 2 - low[0]) * PIXEL_MM, nearest]
    )
    to_field = np.linalg.inv(field.affine) @ to_mm
    turned = ndimage.affine_transform(field.values, to_field, output_shape=size, order=1, cval=-4.0)
    return turned, (int(low[0]), int(low[1]), nearest), to_field


def _shaded(
    field: _Field, to_field: NDArray[np.float64], pixels: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Lambert's law with ambient light and a little gloss, (pixels, 3), where rays meet the organ."""
    at = np.column_stack([pixels, first, np.ones(len(first))]) @ to_field.T
    spacing_mm = np.array(spacing_of(field.affine))
    smooth = ndimage.gaussian_filter(field.values, SMOOTH_MM / spacing_mm)
    slopes = []
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1.0
        there, here = (
            ndimage.map_coordinates(smooth, (at[:, :3] + way).T, order=1, mode="nearest") for way in (step, -step)
        )
        slopes.append((there - here) / (2 * spacing_mm[axis]))
    inwards = np.column_stack(slopes) @ (field.affine[:3, :3] / spacing_mm).T  # in RAS
    normal = -inwards @ _view_axes().T  # right, up, away
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    light = LIGHT / np.linalg.norm(LIGHT)
    halfway = light + np.array([0.0, 0.0, -1.0])
    lit = np.clip(normal @ light, 0, 1)[:, None]
    gloss = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1)[:, None] ** GLOSS_POWER
    return (field.colour * (AMBIENT + (1 - AMBIENT) * lit) + GLOSS * gloss).astype(np.float32)


def surfaces_picture(shown: ShownCase, notes: Mapping[str, str]) -> str:
    """Truth and systems in 3D, all seen from one place, as a data URL.

    Args:
        notes: A few words below a system's name.
    """
    label_maps = {"truth": shown.truth, **shown.predictions}
    stage = stage_of(list(label_maps.values()))
    rows = -(-len(label_maps) // COLUMNS)
    columns = -(-len(label_maps) // rows)
    figure, grid = panel_grid(rows, columns, stage.shape[0] / stage.shape[1])
    for axes, (name, labels) in zip(grid, label_maps.items(), strict=False):
        axes.imshow(render_surfaces(labels, stage), interpolation="lanczos")
        title_panel(axes, name, notes.get(name, ""))
    return photo_url(figure)
