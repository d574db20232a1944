"""The verb `segment`: scans in, label maps on the scans' own grids out."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sautomed.config import Settings
from sautomed.datasets.nnunet_raw import case_name
from sautomed.errors import (
    DataError,
    MemoryShortage,
    MissingFile,
    NoCases,
    NotAModel,
    SautomedError,
    TargetExists,
    UnpairedFiles,
    UsageError,
)
from sautomed.inference import (
    OnSlice,
    SegmentedSlice,
    choose_device,
    is_memory_shortage,
    segment_slices,
    segment_volume,
)
from sautomed.io import read_scan
from sautomed.io.write import NIFTI_ENDINGS
from sautomed.model.bundle import Bundle, load_bundle
from sautomed.preview import draw_preview
from sautomed.volume import LabelMap, Volume

log = logging.getLogger(__name__)


class Model:
    """A trained 3D-SAutoMed that takes scans.

    model = sautomed.load("run/fold_0/model")
    labels = model.segment("scan.nii.gz")
    labels.save("organs.nii.gz")
    """

    def __init__(self, bundle: Bundle, device: torch.device):
        self.bundle, self.device = bundle, device
        self.network = bundle.network.to(device)

    @property
    def labels(self) -> dict[int, str]:
        """Value in a label map -> organ."""
        return self.bundle.labels

    @property
    def settings(self) -> Settings:
        return self.bundle.settings

    def read(self, scan: str | Path) -> Volume:
        """A scan turned to the plane that the model was trained in."""
        return read_scan(scan, self.settings.data.plane)

    def slices(self, volume: Volume) -> Iterator[SegmentedSlice]:
        """Each slice as soon as it is done, in the order of the walk."""
        return segment_slices(self.network, volume, self.settings, self.labels)

    def segment(self, scan: str | Path | Volume, on_slice: OnSlice | None = None) -> LabelMap:
        """A whole scan.

        Args:
            scan: A file, or a volume from `read`.
            on_slice: Called after each slice with the slices done and their number.
        Raises:
            DataError: The scan cannot be used.
        """
        volume = scan if isinstance(scan, Volume) else self.read(scan)
        return segment_volume(self.network, volume, self.settings, self.labels, on_slice)


def load(path: str | Path, device: str = "auto", weights: str | Path | None = None) -> Model:
    """A model from its folder, from a fold of a run, or from a run of one fold.

    Args:
        device: "auto" takes CUDA where there is one; also "cpu" or "cuda".
        weights: Where the pretrained trunk is now, if it has moved since the training.
    Raises:
        ModelError: There is no model, or it cannot be used.
    """
    place = choose_device(device)
    return Model(load_bundle(model_folder(Path(path)), None if weights is None else str(weights)), place)


def model_folder(path: Path) -> Path:
    """The model folder that a path means."""
    if not path.exists():
        raise NotAModel("does not exist.", where=path, cure="Check the path given with -m.")
    found = [
        p.parent
        for pattern in ("config.json", "model/config.json", "fold_*/model/config.json")
        for p in sorted(path.glob(pattern))
        if (p.parent / "dataset.json").exists()
    ]
    if len(found) == 1:
        return found[0]
    what = (
        "holds no model" if not found else f"holds several models: {', '.join(str(p.relative_to(path)) for p in found)}"
    )
    raise NotAModel(f"{what}.", where=path, cure="Give a model folder, or a run with one trained fold.")


@dataclass(frozen=True)
class Failure:
    """A scan that could not be segmented, and why."""

    scan: Path
    error: SautomedError


@dataclass(frozen=True)
class Job:
    """One scan and where its labels go."""

    scan: Path
    target: Path


def plan_jobs(source: Path, output: Path, overwrite: bool, preview: bool = True) -> list[Job]:
    """Which scans go where: a file to a file, a folder's scans to a folder. nnU-Net's channel suffix is dropped.

    Args:
        overwrite: Outputs that are there may be replaced.
        preview: Pictures will be written too, so they count as outputs.

    Raises:
        MissingFile, NoCases: Nothing to segment.
        TargetExists: A target is a scan, or is there already and `overwrite` is not set; found before any work.
        UnpairedFiles: Two scans would go to one target.
    """
    if source.is_dir():
        if output.name.endswith(NIFTI_ENDINGS):
            raise UsageError(
                "a folder of scans needs a folder for its label maps.", where=output, cure="Give -o a folder."
            )
        scans = sorted(p for p in source.iterdir() if p.name.endswith(NIFTI_ENDINGS) and not p.name.startswith("."))
        if not scans:
            raise NoCases(
                f"holds no scan ({', '.join(NIFTI_ENDINGS)}).", where=source, cure="Check the folder given with -i."
            )
        jobs = [Job(scan, output / f"{case_name(scan)}.nii.gz") for scan in scans]
    elif source.exists():
        target = output if output.name.endswith(NIFTI_ENDINGS) else output / f"{case_name(source)}.nii.gz"
        jobs = [Job(source, target)]
    else:
        raise MissingFile("does not exist.", where=source, cure="Check the path given with -i.")
    _refuse_clashes(jobs)
    outputs = [path for job in jobs for path in (job.target, *([preview_path(job.target)] if preview else []))]
    there = [path for path in outputs if path.exists()]
    if there and not overwrite:
        raise TargetExists(
            f"{len(there)} of {len(outputs)} outputs are there already.",
            where=there[0],
            cure="Use --overwrite to replace them, or another -o.",
        )
    return jobs


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    """Labels may replace neither a scan nor the labels of another scan, whatever the user allows."""
    by_target: dict[Path, Path] = {}
    scans = {job.scan.resolve() for job in jobs}
    for job in jobs:
        target = job.target.resolve()
        if target in scans:
            raise TargetExists("is the scan itself.", where=job.target, cure="Give another -o.")
        if target in by_target:
            raise UnpairedFiles(
                f"{by_target[target].name} and {job.scan.name} would go to one file.",
                where=job.target,
                cure="Rename one of the two scans.",
            )
        by_target[target] = job.scan


def run_jobs(
    model: Model, jobs: Sequence[Job], preview: bool = True, on_slice: Callable[[Job, int, int], None] | None = None
) -> list[Failure]:
    """Segment scan after scan; one that fails is noted and the rest goes on."""
    failures = []
    for job in jobs:
        try:
            segment_file(model, job, preview, on_slice)
        except (DataError, MemoryShortage) as error:
            failures.append(Failure(job.scan, error))
    return failures


def segment_file(
    model: Model, job: Job, preview: bool = True, on_slice: Callable[[Job, int, int], None] | None = None
) -> LabelMap:
    """One scan to one file, with a picture beside it; raises what `Model.segment` raises."""
    try:
        volume = model.read(job.scan)
        for text in volume.warnings:
            log.warning("%s", text)
        labels = model.segment(volume, on_slice and (lambda done, total: on_slice(job, done, total)))
        labels.save(job.target)
        if preview:
            draw_preview(volume, labels, preview_path(job.target))
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        raise MemoryShortage(
            "needs more memory than there is.",
            where=job.scan,
            cure="Close other programs, or use a machine with more memory.",
        ) from error
    return labels


def preview_path(target: Path) -> Path:
    return target.with_name(f"{case_name(target)}.png")


def with_walk(model: Model, walk: str) -> Model:
    """The same model on another walk (Table 4)."""
    settings = model.settings.model_copy(update={"segment": model.settings.segment.model_copy(update={"walk": walk})})
    return Model(replace(model.bundle, settings=settings), model.device)
