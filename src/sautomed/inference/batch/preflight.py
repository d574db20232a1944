"""What is found out of every scan before the first one is segmented: from its header, its hash and the disk."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import NoDicomSource, UnsupportedVoxels, UnwritableTarget
from sautomed.inference.batch.case_report import UNFINISHED, Origin, why_not_done
from sautomed.inference.batch.jobs import Job, Plan, ending_of, wants_dicom
from sautomed.inference.batch.scans import scan_files
from sautomed.inference.memory import TrunkCost, choose_chunk
from sautomed.inference.model import Model
from sautomed.scans import Geometry, read_geometry
from sautomed.scans.dicom.source import DicomSource
from sautomed.scans.files import nearest_folder, sweep_leftovers
from sautomed.scans.paths import sha256_of, true_place

log = logging.getLogger(__name__)

# Ours: bytes per voxel of a label map; long runs of one value leave little after compression.
_BYTES_PER_VOXEL = {".nii.gz": 0.1, ".nrrd": 0.2, ".seg.nrrd": 0.2, ".mha": 0.2}
_UNCOMPRESSED = 2.0
_SMALL_FILES = 2_000_000  # picture, report and headers of one case


@dataclass(frozen=True)
class Task:
    """A job that can be worked on.

    Args:
        origin: What its report will name; None without a report.
        chunk: Slices through the trunk at a time, for which memory should suffice.
        predicted_bytes: The peak of the process then.
    """

    job: Job
    geometry: Geometry
    origin: Origin | None
    chunk: int
    predicted_bytes: int


def prepare_job(model: Model, plan: Plan, job: Job, cost: TrunkCost) -> Task | None:
    """Find out whether a scan can be segmented; None if the plan resumes and this job is done.

    Raises:
        DataError: The header cannot be read.
        NoDicomSource: DICOM is to be written, but the scan is none.
        MemoryShortage: It would need more memory than there is.
    """
    origin = None if job.report is None else _origin(model, plan, job)
    if plan.options.resume and origin is not None and _is_done(job, origin):
        return None
    geometry = _geometry_of(model, plan, job)
    if wants_dicom(job) and not isinstance(geometry.native.source, DicomSource):
        raise NoDicomSource(
            f"is {geometry.format}, but DICOM output refers to the images of a DICOM scan.",
            where=job.scan,
            cure="Give the DICOM series itself with -i, or another --format, such as nii.gz or nrrd.",
        )
    most = model.settings.segment.chunk
    chunk, need = choose_chunk(geometry, model, cost, plan.options.max_ram_gb)
    if chunk < most:
        log.warning("%s: %d slices at a time instead of %d, for want of memory.", job.scan, chunk, most)
    return Task(job, geometry, origin, chunk, need.peak)


def _geometry_of(model: Model, plan: Plan, job: Job) -> Geometry:
    """The scan's header; where it has the wrong channels, with what the model expects."""
    try:
        return read_geometry(job.scan, plan.options.reading)
    except UnsupportedVoxels as fault:
        expected = f"The model expects one channel per voxel, {model.bundle.channel}."
        raise UnsupportedVoxels(f"{fault.fault} {expected}", where=fault.where, cure=fault.cure) from fault


def clear_the_way(plan: Plan) -> None:
    """Take away what killed runs left, and the list of failures of the run before.

    Raises:
        UnwritableTarget: The list cannot be removed.
    """
    by_folder: dict[Path, set[str]] = {}
    for path in (*plan.shared, *(path for job in plan.jobs for path in job.outputs)):
        by_folder.setdefault(path.parent, set()).add(path.name)
    for folder, names in by_folder.items():
        sweep_leftovers(folder, names)
    if plan.failures is None:
        return
    try:
        plan.failures.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableTarget(
            f"cannot be removed: {error.strerror}.", where=plan.failures, cure="Choose another place with -o."
        ) from error


def require_space(tasks: Sequence[Task]) -> None:
    """Refuse before the work if a disk cannot hold the outputs; a file that is replaced lies there twice for a while.

    Raises:
        UnwritableTarget: There is too little free space.
    """
    wanted: dict[int, tuple[Path, float]] = {}
    for task in tasks:
        place = nearest_folder(task.job.targets[0].parent)
        disk = place.stat().st_dev
        size = wanted.get(disk, (place, 0.0))[1] + _size_of_outputs(task)
        wanted[disk] = place, size
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if free < size:
            raise UnwritableTarget(
                f"has {free / 1e6:.0f} MB of free space, but the outputs may take {size / 1e6:.0f} MB.",
                where=place,
                cure="Free space there, choose another place with -o, or segment fewer scans at a time.",
            )


def _size_of_outputs(task: Task) -> float:
    depth, rows, columns = task.geometry.shape
    per_voxel = sum(_BYTES_PER_VOXEL.get(ending_of(target) or "", _UNCOMPRESSED) for target in task.job.targets)
    return float(depth) * rows * columns * per_voxel + _SMALL_FILES


def _is_done(job: Job, origin: Origin) -> bool:
    if job.report is None or not job.report.exists():
        return False
    reason = why_not_done(job.report, origin, job.outputs[:-1])
    if reason not in (None, UNFINISHED):
        log.warning("%s is segmented again: %s.", job.case, reason)
    return reason is None


def _origin(model: Model, plan: Plan, job: Job) -> Origin:
    return Origin(
        input_path=job.scan.absolute(),
        input_sha256=sha256_of(scan_files(job.scan, _results_within(plan, job))),
        model_path=None if model.folder is None else model.folder.absolute(),
        model_sha256=model.sha256,
        walk=model.settings.segment.walk,
        formats=tuple((ending_of(target) or "").removeprefix(".") for target in job.targets),
        reading=plan.options.reading,
    )


def _results_within(plan: Plan, job: Job) -> frozenset[Path]:
    """What is no part of a DICOM folder although it may lie there."""
    results = {true_place(path) for path in (*job.outputs, *plan.shared)}
    if plan.folder is not None and true_place(plan.folder) != true_place(job.scan):
        results.add(true_place(plan.folder))
    return frozenset(results)
