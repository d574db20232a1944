"""Cases resized and scaled once, kept as memory-mapped arrays beside the run.

Reading a slice later costs a page of disk, so memory does not grow with the data set.
"""

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock

from sautomed.config import DataSettings
from sautomed.datasets import Case, Dataset
from sautomed.inference.confidence.shape import organ_sizes
from sautomed.inference.intensity import intensity_range, modality_of, scale_intensity
from sautomed.inference.percentiles import PERCENTILES, IntensityPercentiles, percentiles_of
from sautomed.inference.resize import automatic_size, consecutive, fit_of
from sautomed.model.boxes import boxes_of_labels
from sautomed.scans.files import atomic_write, sweep_leftovers, write_text
from sautomed.scans.grid import NativeGrid, Plane, choose_plane, orient
from sautomed.scans.volume import LabelMap

log = logging.getLogger(__name__)
_READING = "labels by name, organ sizes"  # changed whenever the same files are read otherwise than before


class PreparedCase(NamedTuple):
    """One case on disk. Arrays open on each access, so that workers share pages and not handles."""

    id: str
    folder: Path

    @property
    def images(self) -> np.ndarray:
        """float16 (d s s) in [0, 1]."""
        return np.load(self.folder / f"{self.id}.image.npy", mmap_mode="r")

    @property
    def labels(self) -> np.ndarray:
        """uint8 (d s s), classes 0..k without gaps."""
        return np.load(self.folder / f"{self.id}.labels.npy", mmap_mode="r")

    @property
    def presence(self) -> np.ndarray:
        """bool (d k): which class is on which slice."""
        return np.load(self.folder / f"{self.id}.presence.npy")

    @property
    def organ_sizes(self) -> np.ndarray:
        """float64 (k 2): ml and mm in which the label map as it was read shows each class; nan where it does not."""
        return np.load(self.folder / f"{self.id}.organ_sizes.npy")

    @property
    def intensities(self) -> IntensityPercentiles:
        """Percentiles of the scan as it was read, before any scaling."""
        return IntensityPercentiles(*np.load(self.folder / f"{self.id}.intensities.npy").tolist())


def resolve_data(dataset: Dataset, settings: DataSettings) -> DataSettings:
    """Decide every setting that is on "auto" from the training data; the result is kept with the model.

    The plane is the commonest, the size that of the median case. Reads headers, no voxels.
    """
    grids = [dataset.geometry(case).native for case in dataset.cases]
    plane = Counter(choose_plane(grid, settings.plane) for grid in grids).most_common(1)[0][0]
    size = settings.image_size
    if size == "auto":
        size = automatic_size([_in_plane(grid, plane) for grid in grids], settings.auto_size)
    modality = modality_of(dataset.channel, settings.modality)
    return settings.model_copy(update={"plane": plane, "image_size": size, "modality": modality})


def _in_plane(grid: NativeGrid, plane: Plane) -> tuple[float, float]:
    """Return the longer side of a slice in mm and the finer spacing in it."""
    turned, affine = orient(np.broadcast_to(np.uint8(0), grid.shape), grid, plane)
    spacing = np.linalg.norm(affine[:3, 1:3], axis=0)
    return float((turned.shape[1:] * spacing).max()), float(spacing.min())


def prepare(
    dataset: Dataset,
    cases: Sequence[Case],
    settings: DataSettings,
    folder: Path,
    on_case: Callable[[int, int, str], None] | None = None,
) -> list[PreparedCase]:
    """Prepare each case, unless an earlier call did; `settings` as `resolve_data` returns them.

    Several processes may share the folder: one prepares, the others wait.

    Raises:
        DataError: The first case that cannot be used, with its file.
    """
    recipe = json.dumps([settings.model_dump(), dataset.labels, PERCENTILES, _READING], sort_keys=True)
    target = folder / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / "prepare.lock"):
        sweep_leftovers(target)
        for done, case in enumerate(cases):
            stamp, sources = target / f"{case.id}.sources.json", _sources_of(dataset, case)
            if not stamp.exists() or stamp.read_text(encoding="utf-8") != sources:
                stamp.unlink(missing_ok=True)  # written after the arrays, so its presence means they are whole
                _prepare_case(dataset, case, settings, target)
                write_text(stamp, sources)
            if on_case:
                on_case(done + 1, len(cases), case.id)
    return [PreparedCase(case.id, target) for case in cases]


def _sources_of(dataset: Dataset, case: Case) -> str:
    """Describe the case's files as they are now; where the description changes, the case is prepared anew."""
    there = (path for path in dataset.sources(case) if path.exists())  # a missing one is reported when it is read
    files = [(str(path.resolve()), path.stat()) for path in there]
    return json.dumps([(name, found.st_size, found.st_mtime_ns) for name, found in files])


def _prepare_case(dataset: Dataset, case: Case, settings: DataSettings, folder: Path) -> None:
    volume, labels = dataset.load(case, settings.plane)
    for text in volume.warnings:
        log.warning("%s", text)
    fit = fit_of(volume, settings)
    bounds = intensity_range(volume.array, settings)
    compact = consecutive(labels.array, sorted(dataset.labels), case.id)
    classes = len(dataset.labels)
    images, masks = [], []
    for rows in _chunks(len(volume.array), 16):
        scaled = torch.from_numpy(scale_intensity(volume.array[rows], bounds))
        images.append(fit.to_network(scaled).half().numpy())
        masks.append(fit.labels_to_network(torch.from_numpy(compact[rows]), classes).numpy())
    masks_whole = np.concatenate(masks)
    presence = np.stack([(masks_whole == k).any((1, 2)) for k in range(1, classes + 1)], 1)
    intensities = np.array(astuple(percentiles_of(volume.array, modality_of(dataset.channel, settings.modality))))
    arrays = {
        "image": np.concatenate(images),
        "labels": masks_whole,
        "presence": presence,
        "intensities": intensities,
        "organ_sizes": _sizes(labels, dataset.labels),
    }
    for name, array in arrays.items():
        content = io.BytesIO()  # numpy's own writing to a file hides the error of a full disk
        np.save(content, array)
        with atomic_write(folder / f"{case.id}.{name}.npy") as temporary:
            temporary.write_bytes(content.getbuffer())


def _sizes(labels: LabelMap, organs: Mapping[int, str]) -> np.ndarray:
    """Return what `PreparedCase.organ_sizes` reads."""
    found, absent = organ_sizes(replace(labels, names=dict(organs))), (np.nan, np.nan)
    return np.array([astuple(found[organ]) if organ in found else absent for _, organ in sorted(organs.items())])


def mean_boxes(cases: Sequence[PreparedCase], classes: int) -> torch.Tensor:
    """Return each class's mean box (xyxy in [0, 1]) over the slices that show it; a centred box if none does."""
    total, count = torch.zeros(classes, 4), torch.zeros(classes, 1)
    for case in cases:
        for rows in _chunks(len(case.labels), 16):
            boxes, present = boxes_of_labels(torch.from_numpy(np.array(case.labels[rows])), classes)
            total += boxes.sum(0)
            count += present.sum(0)[:, None]
    middle = torch.tensor([0.25, 0.25, 0.75, 0.75])
    return torch.where(count > 0, total / count.clamp(min=1), middle)


def _chunks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
