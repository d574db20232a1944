"""Check every scan before the first one is segmented: its header, its hash, memory and space on the disk."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sautomed.errors import NoDicomSource, UnsupportedVoxels, UnwritableTarget
from sautomed.inference.batch.case_report import Provenance
from sautomed.inference.batch.done import UNFINISHED, why_not_done
from sautomed.inference.batch.failure_log import OnHeader
from sautomed.inference.batch.jobs import Job, Plan, label_ending, writes_dicom
from sautomed.inference.batch.json_files import remove_file
from sautomed.inference.batch.scans import scan_files
from sautomed.inference.memory import TrunkCost, choose_chunk, oriented_shape
from sautomed.inference.model import Model
from sautomed.inference.prompts.collect import model_identity
from sautomed.scans import Geometry, read_geometry
from sautomed.scans.dicom.source import DicomSource, why_not_referable
from sautomed.scans.files import nearest_folder, sweep_leftovers
from sautomed.scans.paths import resolved_path, sha256_of

log = logging.getLogger(__name__)

# Ours: bytes per voxel of a label map; long stretches of one value compress well.
_BYTES_PER_VOXEL = {".nii.gz": 0.1, ".nrrd": 0.2, ".seg.nrrd": 0.2, ".mha": 0.2}
_UNCOMPRESSED = 2.0
_SMALL_FILES = 2_000_000  # picture, report and headers of one case


@dataclass(frozen=True)
class PreparedJob:
    """A job that can be segmented.

    Args:
        provenance: For its report, its prompts, and those to replay; None without all of them.
        chunk: Slices through the trunk at a time, for which memory should suffice.
        predicted_bytes: Predicted peak of the process.
    """

    job: Job
    geometry: Geometry
    provenance: Provenance | None
    chunk: int
    predicted_bytes: int


def prepare_job(model: Model, plan: Plan, job: Job, cost: TrunkCost, on_header: OnHeader) -> PreparedJob | None:
    """Check whether a scan can be segmented; return None if the plan resumes and this job is done.

    Args:
        on_header: Called with the header of the scan, once it is read.
    Raises:
        DataError: The header cannot be read.
        NoDicomSource: DICOM is to be written, but the scan is not DICOM, or its images cannot be referred to.
        MemoryShortage: It needs more memory than there is.
        PromptsMismatch: The prompts to replay belong to another scan or model.
    """
    replay, provenance = plan.options.replay, None
    geometry = _read_geometry(model, plan, job)
    on_header(geometry)
    report = job.report
    if plan.options.resume and report is not None and report.exists():
        provenance = provenance_of(model, plan, job)
        if _is_done(job, report, provenance):
            return None
    if writes_dicom(job):
        _require_referable(geometry, job)
    largest = model.settings.segment.chunk
    corrected = replay is not None and replay.document.has_edits
    chunk, need = choose_chunk(geometry, model, cost, plan.options.max_ram_gb, corrected)
    if chunk < largest:
        log.warning("%s: %d slices at a time instead of %d, to save memory.", job.source, chunk, largest)
    needed = report is not None or job.prompts is not None or replay is not None
    if provenance is None and needed:  # hashes the scan, so only now: a header can promise terabytes
        provenance = provenance_of(model, plan, job)
    if replay is not None and provenance is not None:
        replay.require_same_scan(job.scan, provenance.input_sha256, plan.reading_of(job))
        replay.require_same_model(model_identity(model), model.folder)
        replay.require_fits(oriented_shape(geometry, model), model.labels)
    return PreparedJob(job, geometry, provenance, chunk, need.peak)


def _require_referable(geometry: Geometry, job: Job) -> None:
    """Raise NoDicomSource if DICOM output could not refer to the images of the scan."""
    if not isinstance(geometry.native.source, DicomSource):
        raise NoDicomSource(
            f"is {geometry.format}, but DICOM output refers to the images of a DICOM scan.",
            where=job.scan,
            cure="Give the DICOM series itself with -i, or another --format, such as nii.gz or nrrd.",
        )
    fault = why_not_referable(geometry.native.source)
    if fault:
        raise NoDicomSource(
            f"allows no DICOM output: {fault}.",
            where=job.scan,
            cure="Give another --format, such as nii.gz or nrrd.",
        )


def _read_geometry(model: Model, plan: Plan, job: Job) -> Geometry:
    """Read the scan's header; if it has the wrong channels, the message names what the model expects."""
    try:
        return read_geometry(job.scan, plan.reading_of(job))
    except UnsupportedVoxels as fault:
        expected = f"The model expects one channel per voxel, {model.bundle.channel}."
        raise UnsupportedVoxels(f"{fault.fault} {expected}", where=fault.where, cure=fault.cure) from fault


def remove_leftovers(plan: Plan) -> None:
    """Remove temporary files of killed runs, and the list of failures of the previous run.

    Raises:
        UnwritableTarget: The list cannot be removed.
    """
    remove_temporary_files(plan)
    if plan.failures is not None:
        remove_file(plan.failures)


def remove_temporary_files(plan: Plan) -> None:
    """Remove temporary files of killed processes."""
    by_folder: dict[Path, set[str]] = {}
    for path in (*plan.shared, *(job.place_of(path) for job in plan.jobs for path in job.outputs)):
        if isinstance(path, Path):  # stores take whole files alone
            by_folder.setdefault(path.parent, set()).add(path.name)
    for folder, names in by_folder.items():
        sweep_leftovers(folder, names)


def require_space(prepared: Sequence[PreparedJob]) -> None:
    """Refuse to start if a disk cannot hold the outputs, next to any files that they will replace.

    Raises:
        UnwritableTarget: There is too little free space.
    """
    needed: dict[int, tuple[Path, float]] = {}
    for item in prepared:
        place = nearest_folder(item.job.targets[0].parent)
        disk = place.stat().st_dev
        size = needed.get(disk, (place, 0.0))[1] + _size_of_outputs(item)
        needed[disk] = place, size
    for place, size in needed.values():
        free = shutil.disk_usage(place).free
        if free < size:
            raise UnwritableTarget(
                f"has {free / 1e6:.0f} MB of free space, but the outputs may take {size / 1e6:.0f} MB.",
                where=place,
                cure="Free space there, choose another place with -o, or segment fewer scans at a time.",
            )


def _size_of_outputs(prepared: PreparedJob) -> float:
    depth, rows, columns = prepared.geometry.shape
    per_voxel = sum(_BYTES_PER_VOXEL.get(label_ending(target) or "", _UNCOMPRESSED) for target in prepared.job.targets)
    return float(depth) * rows * columns * per_voxel + _SMALL_FILES


def _is_done(job: Job, report: Path, provenance: Provenance) -> bool:
    reason = why_not_done(report, provenance, job.results)
    say_why_again(job, reason)
    return reason is None


def say_why_again(job: Job, reason: str | None) -> None:
    """Log why a case that was done before is segmented again; nothing if it is not, or was not finished."""
    if reason not in (None, UNFINISHED):
        log.warning("%s is segmented again: %s.", job.case, reason)


def provenance_of(model: Model, plan: Plan, job: Job, input_sha256: str | None = None) -> Provenance:
    """Return what decides the result of a job.

    Args:
        input_sha256: Of the scan; None: it is read.
    Raises:
        MissingFile: A file of the scan cannot be read.
    """
    source = job.source
    return Provenance(
        input_path=source.absolute() if isinstance(source, Path) else source,
        input_sha256=input_sha256 or sha256_of(scan_files(job.scan, _output_places(plan, job))),
        model_path=None if model.folder is None else model.folder.absolute(),
        model_sha256=model.sha256,
        walk=model.settings.segment.walk,
        formats=tuple((label_ending(target) or "").removeprefix(".") for target in job.targets),
        reading=plan.reading_of(job),
        prompts_sha256=None if plan.options.replay is None else sha256_of([plan.options.replay.path]),
        input_version=None if job.remote is None else job.remote.version,
        computing=model.computing,
    )


def _output_places(plan: Plan, job: Job) -> frozenset[Path]:
    """Return the outputs, which are no part of a DICOM scan even if they are in its folder."""
    results = {resolved_path(path) for path in (*job.outputs, *plan.shared) if isinstance(path, Path)}
    if isinstance(plan.folder, Path) and resolved_path(plan.folder) != resolved_path(job.scan):
        results.add(resolved_path(plan.folder))
    return frozenset(results)
