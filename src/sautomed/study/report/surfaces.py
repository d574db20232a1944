"""Figure of organs in 3D: label maps from the front, by orthographic ray casting without triangulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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

TURN_DEG = 20.0  # ours: about the body's long axis, to show the organs' depth
TILT_DEG = 12.0  # ours: from slightly above
LIGHT = np.array([-0.45, 0.62, -0.65])  # towards the light (right, up, away), which is at the upper left
AMBIENT, GLOSS, GLOSS_POWER = 0.38, 0.18, 24  # ours
SMOOTH_MM = 2.0  # ours: of the field whose gradient is the normal, to hide the steps between voxels
CAP_MM = 3.0  # ours: an organ extends at most so far past its end slices, and at most half a slice
PIXEL_MM, DEPTH_MM = 1.0, 1.8
MARGIN_MM = 8.0  # around the organs; half a thick slice extends as far past its middle
STEP_MM = 2.0  # approximate distance of planes interpolated between thicker slices
_FAR = 1e6


@dataclass(frozen=True)
class View:
    """Centre and size of the view, shared by all pictures of a case so that they can be compared.

    Args:
        centre_mm: In RAS.
        half_mm: Half the width and half the height of the picture.
    """

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return 2 * int(self.half_mm[1] / PIXEL_MM) + 1, 2 * int(self.half_mm[0] / PIXEL_MM) + 1


def view_of(label_maps: list[LabelMap]) -> View:
    """Return the view that holds every organ of every label map."""
    axes = _view_axes()
    seen = np.concatenate([_borders_mm(labels) @ axes.T for labels in label_maps] or [np.zeros((0, 3))])
    if not len(seen):
        return View((0.0, 0.0, 0.0), (50.0, 50.0))
    low, high = seen.min(axis=0), seen.max(axis=0)
    centre = axes.T @ ((low + high) / 2)
    half = (high - low) / 2 + MARGIN_MM
    return View((float(centre[0]), float(centre[1]), float(centre[2])), (float(half[0]), float(half[1])))


def render_surfaces(labels: LabelMap, view: View) -> NDArray[np.uint8]:
    """Draw the organs from the front: head up, the patient's right on the left.

    Each organ is interpolated between its slices by its in-plane distance field, so that thick slices show no steps; no
    voxel is smoothed away, and an organ ends half a slice past its last one, at most `CAP_MM`.

    Args:
        labels: In any plane.
        view: From `view_of`, the same for all label maps of a case.
    Returns:
        Colours (rows, columns, 3) on white, uint8.
    Source: Raya and Udupa 1990, IEEE TMI 9(1) (shape-based interpolation); Levoy 1988, IEEE CG&A 8(3) (shading from
        the gradient).
    """
    rows, columns = view.shape
    colours = np.ones((rows, columns, 3), np.float32)
    depths = np.full((rows, columns), _FAR, np.float32)
    turn_to = _view_axes()[2]
    fields = [_field_of(labels, int(class_id)) for class_id in np.unique(labels.array[labels.array > 0])]
    # From the farthest to the nearest, so that the soft edge of a near organ blends with those behind it.
    for field in sorted(fields, key=lambda field: -float(field.middle_mm @ turn_to)):
        _draw_organ(colours, depths, field, view)
    return (np.clip(colours, 0, 1) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class _Field:
    """Signed distance to an organ's outline (mm, positive inside) on a grid around it, with the affine of that grid."""

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    colour: NDArray[np.float32]

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        """The middle of the grid, in RAS."""
        return np.asarray((self.affine @ np.append((np.array(self.values.shape) - 1) / 2, 1.0))[:3])


def _view_axes() -> NDArray[np.float64]:
    """Return three unit vectors in RAS, (3, 3): the picture's right, its up, and away from the viewer."""
    turn, tilt = np.deg2rad(TURN_DEG), np.deg2rad(TILT_DEG)
    right = np.array([-np.cos(turn), np.sin(turn), 0.0])  # the patient's left is on the right
    level = np.array([-np.sin(turn), -np.cos(turn), 0.0])  # from front to back
    head = np.array([0.0, 0.0, 1.0])
    away = np.cos(tilt) * level - np.sin(tilt) * head
    up = np.cos(tilt) * head + np.sin(tilt) * level
    return np.stack([right, up, away])


def _borders_mm(labels: LabelMap) -> NDArray[np.float64]:
    """Return the middles of the outermost labelled voxels, (n 3) in RAS."""
    occupied = labels.array > 0
    border = np.argwhere(occupied & ~ndimage.binary_erosion(occupied))
    return np.asarray(border @ labels.affine[:3, :3].T + labels.affine[:3, 3])


def _field_of(labels: LabelMap, class_id: int) -> _Field:
    """Return the in-plane distance to an organ's outline, slice by slice, with an empty slice at either end."""
    mask, affine = labels.array == class_id, labels.affine
    around: tuple[slice, ...] = ndimage.find_objects(mask.astype(np.uint8))[0]
    spacing_mm = labels.spacing_mm
    margin = (0, *(int(np.ceil(6 / mm)) for mm in spacing_mm[1:]))
    start = [part.start - width for part, width in zip(around, margin, strict=True)]
    organ = np.pad(mask[around], [(width, width) for width in margin])
    reach_mm = min(spacing_mm[0] / 2, CAP_MM)
    planes = [_plane_distance(plane, spacing_mm[1:]) for plane in organ]
    # The distance falls to zero `reach_mm` past the last slice, whatever the organ's width.
    outside = [np.minimum(-end * (spacing_mm[0] / reach_mm - 1), -0.5) for end in (planes[0], planes[-1])]
    values = np.stack([outside[0], *planes, outside[1]]).astype(np.float32)
    start[0] -= 1
    finer = max(1, round(spacing_mm[0] / STEP_MM))
    if finer > 1:  # monotone, so that no surface bulges between slices
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
    half = min(spacing_mm) / 2  # the outline is between voxels, not on them
    return np.clip(np.where(plane, inside - half, half - outside), -8.0, 8.0)


def _draw_organ(colours: NDArray[np.float32], depths: NDArray[np.float32], field: _Field, view: View) -> None:
    """Draw one organ wherever it is nearer than what has been drawn, in place."""
    values, place, to_field = _resample(field, view)
    rows, columns = slice(place[0], place[0] + values.shape[0]), slice(place[1], place[1] + values.shape[1])
    nearest_to_surface = values.max(axis=2)
    cover = np.clip(0.5 + nearest_to_surface / PIXEL_MM, 0, 1)  # a pixel on the outline is covered in part
    inside = values > 0
    first = np.where(nearest_to_surface > 0, inside.argmax(axis=2), values.argmax(axis=2))
    depth = place[2] + first * DEPTH_MM
    drawn = (cover > 0) & (depth < depths[rows, columns])
    shade = _shaded(field, to_field, np.argwhere(drawn), first[drawn])
    mixed = cover[drawn][:, None]
    colours[rows, columns][drawn] = mixed * shade + (1 - mixed) * colours[rows, columns][drawn]
    solid = drawn & (nearest_to_surface > 0)
    depths[rows, columns][solid] = depth[solid]


def _resample(field: _Field, view: View) -> tuple[NDArray[np.float32], tuple[int, int, float], NDArray[np.float64]]:
    """Resample a field on the grid of the view (row, column, depth), cut to the organ.

    Returns:
        The values; the row, column and depth (mm) of its first voxel in the picture; the matrix from its index to the
        field's.
    """
    axes = _view_axes()
    rows, columns = view.shape
    shape = np.array(field.values.shape)
    ends = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    seen = ((ends @ field.affine.T)[:, :3] - view.centre_mm) @ axes.T  # right, up, away, in mm
    low = np.array([rows // 2 - seen[:, 1].max() / PIXEL_MM, columns // 2 + seen[:, 0].min() / PIXEL_MM])
    high = np.array([rows // 2 - seen[:, 1].min() / PIXEL_MM, columns // 2 + seen[:, 0].max() / PIXEL_MM])
    low, high = np.maximum(np.floor(low), 0).astype(int), np.minimum(np.ceil(high) + 1, (rows, columns)).astype(int)
    nearest = float(seen[:, 2].min())
    size = (int(high[0] - low[0]), int(high[1] - low[1]), int((seen[:, 2].max() - nearest) / DEPTH_MM) + 2)
    # From an index of the view to RAS, then on to an index of the field.
    to_mm = np.eye(4)
    to_mm[:3, 0], to_mm[:3, 1], to_mm[:3, 2] = -axes[1] * PIXEL_MM, axes[0] * PIXEL_MM, axes[2] * DEPTH_MM
    to_mm[:3, 3] = view.centre_mm + axes.T @ np.array(
        [(low[1] - columns // 2) * PIXEL_MM, (rows // 2 - low[0]) * PIXEL_MM, nearest]
    )
    to_field = np.linalg.inv(field.affine) @ to_mm
    turned = ndimage.affine_transform(field.values, to_field, output_shape=size, order=1, cval=-4.0)
    return turned, (int(low[0]), int(low[1]), nearest), to_field


def _shaded(
    field: _Field, to_field: NDArray[np.float64], pixels: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the colours (pixels, 3) where rays meet the organ: Lambert's law with ambient light and a little gloss."""
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
    """Draw truth and systems in 3D from the same point of view; return a data URL.

    Args:
        notes: A few words by system name, shown below it.
    """
    label_maps = {"truth": shown.truth, **shown.predictions}
    view = view_of(list(label_maps.values()))
    rows = -(-len(label_maps) // COLUMNS)
    columns = -(-len(label_maps) // rows)
    figure, grid = panel_grid(rows, columns, view.shape[0] / view.shape[1])
    for axes, (name, labels) in zip(grid, label_maps.items(), strict=False):
        axes.imshow(render_surfaces(labels, view), interpolation="lanczos")
        title_panel(axes, name, notes.get(name, ""))
    return photo_url(figure)
