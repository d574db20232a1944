"""Draw docs/editing-before.png and docs/editing-after.png: python docs/make_editing_pictures.py

The scan of `sautomed studio --demo` is segmented with phantom-ct. Then the organ that is worst on a slice is painted
there as it is in truth, and travels; slices around it are drawn before and after, with the truth dashed.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import sautomed
from sautomed.inference.preview_slice import View, draw_slice, view_of
from sautomed.scans import read_labels
from sautomed.scans.files import atomic_write
from sautomed.scans.volume import LabelMap, Volume
from sautomed.studio.demo import demo_scan

DOCS = Path(__file__).parent
AWAY = (-2, -1, 0, 1, 2)  # from the slice that is painted
MARGIN = 18  # pixels


def main() -> None:
    """Draw both pictures."""
    with tempfile.TemporaryDirectory() as place:
        scan = demo_scan(Path(place))
        session = sautomed.edit("phantom-ct", scan)
        truth = read_labels(scan.parents[1] / "labelsTr" / "phantom_000.nii.gz", session.volume.plane, session.organs)
    t, organ, value = _worst(session.labels, truth)
    _draw(session.volume, session.labels, truth, value, t, f"{organ}, automatic", DOCS / "editing-before.png")
    before = _wrong_ml(session.labels, truth, value)
    session.erase(t, organ, truth.array[t] != value)
    session.paint(t, organ, truth.array[t] == value)
    for _ in session.propagate(t):
        pass
    title = f"{organ}, painted on slice {t + 1} alone"
    _draw(session.volume, session.labels, truth, value, t, title, DOCS / "editing-after.png")
    after = _wrong_ml(session.labels, truth, value)
    print(f"{organ}, slice {t + 1}: {before:.1f} ml of it wrong before, {after:.1f} after")  # noqa: T201


def _worst(labels: LabelMap, truth: LabelMap) -> tuple[int, str, int]:
    """Return slice, organ and label value of the most wrong pixels for the organ's size."""
    values = sorted(labels.names)
    wrong = np.array([((labels.array == value) != (truth.array == value)).sum((1, 2)) for value in values])
    sizes = np.array([max((truth.array == value).sum(), 1) for value in values])
    share = wrong / sizes[:, None]
    k, t = np.unravel_index(share.argmax(), share.shape)
    return int(t), labels.names[values[k]], values[k]


def _wrong_ml(labels: LabelMap, truth: LabelMap, value: int) -> float:
    wrong = ((labels.array == value) != (truth.array == value)).sum()
    return float(wrong * abs(np.linalg.det(labels.affine[:3, :3])) / 1000)


def _draw(volume: Volume, labels: LabelMap, truth: LabelMap, value: int, t: int, title: str, path: Path) -> None:
    labels, truth = (replace(item, array=np.where(item.array == value, item.array, 0)) for item in (labels, truth))
    view = _around(view_of(volume, [labels, truth]), truth)
    shown = [t + away for away in AWAY if 0 <= t + away < len(volume.array)]
    tall = (view.rows.stop - view.rows.start) * view.aspect / (view.columns.stop - view.columns.start)
    figure = Figure(figsize=(2.4 * len(shown), 2.4 * tall + 0.3), dpi=110, layout="constrained", facecolor="white")
    for axes, index in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes.set_axis_off()
        draw_slice(axes, volume, labels, truth, index, view)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color="#26323d")
    with atomic_write(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _around(view: View, truth: LabelMap) -> View:
    """Return the view on the organ with a margin."""
    rows, columns = (np.flatnonzero(truth.array.any(axis)) for axis in ((0, 2), (0, 1)))
    return replace(view, **{
        name: slice(max(int(found[0]) - MARGIN, 0), int(found[-1]) + 1 + MARGIN)
        for name, found in (("rows", rows), ("columns", columns))
    })  # fmt: skip


if __name__ == "__main__":
    main()
