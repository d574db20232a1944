"""Refuse a plan, before any work, that would replace files that must stay, or write where nothing can be written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sautomed.errors import TargetExists, UnpairedFiles, UnwritableTarget, UsageError
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.json_files import is_file_at, remove_file, write_object
from sautomed.inference.batch.places import Place, Url
from sautomed.inference.batch.remote import files_below
from sautomed.inference.batch.report_parts import is_failure_list, is_report
from sautomed.inference.batch.shards import is_run_file
from sautomed.inference.batch.summary import is_case_summary
from sautomed.scans.files import require_writable
from sautomed.scans.paths import resolved_path


class _Folders:
    """Resolves the folders of many files, each folder once."""

    def __init__(self) -> None:
        self._resolved: dict[Path, str] = {}

    def resolve(self, folder: Place) -> str:
        if isinstance(folder, Url):
            return folder.address
        if folder not in self._resolved:
            self._resolved[folder] = str(resolved_path(folder))
        return self._resolved[folder]

    def identity(self, place: Place) -> tuple[str, str]:
        """Return what is equal for two names of one file."""
        return self.resolve(place.parent), place.name

    def folded(self, place: Place) -> tuple[str, str]:
        """Return the same for a disk that takes upper and lower case as one, as those of Windows and macOS do."""
        folder, name = self.identity(place)
        return folder.casefold(), name.casefold()


def refuse_web(output: Place) -> None:
    """Raise UsageError if outputs would go to a web server, which only gives files."""
    if isinstance(output, Url) and output.is_web:
        raise UsageError(
            "can be read alone.",
            where=str(output),
            cure="Give a folder, or a URL such as s3://BUCKET/FOLDER, for outputs.",
        )


@contextmanager
def closed_folders_refused() -> Iterator[None]:
    """Raise UnwritableTarget if the block looks for an output in a folder that may not be entered."""
    try:
        yield
    except PermissionError as error:
        raise UnwritableTarget(
            "cannot be written: a folder above it may not be entered.",
            where=os.fsdecode(error.filename),
            cure="Choose another place with -o, or change the permissions there.",
        ) from error


def refuse_clashes(plan: Plan) -> None:
    """Refuse outputs that would replace a scan or the output of another scan, with --overwrite too.

    Names that differ in upper and lower case alone are one on every system: results are copied between systems.

    Raises:
        TargetExists: An output is a scan.
        UnpairedFiles: Two outputs would go to one file, or one to a file of the run or of one of its shards.
    """
    folders, owners = _Folders(), dict[tuple[str, str], tuple[str, tuple[str, str]]]()
    scans = {folders.identity(_resolved(job.source)) for job in plan.jobs}
    run_folder = folders.resolve(plan.folder).casefold() if plan.folder is not None and plan.several else None
    for job in plan.jobs:
        for output in map(job.place_of, job.outputs):
            exact = folders.identity(output)
            if exact in scans:
                raise TargetExists("is the scan itself.", where=str(output), cure="Give another -o.")
            folder, name = folders.folded(output)
            owner, written = owners.get((folder, name), (None, exact))
            if folder == run_folder and is_run_file(name):
                owner, written = f"the file {name} of the whole run", (exact[0], name)
            if owner is not None:
                on_some = "" if written == exact else ", on a disk that does not tell upper from lower case"
                raise UnpairedFiles(
                    f"{owner} and {job.source.name} would go to one file{on_some}.",
                    where=str(output),
                    cure=f"Rename the scan {job.source.name}; or in a list, give its row another output.",
                )
            owners[folder, name] = job.source.name, exact


def refuse_existing_outputs(plan: Plan) -> None:
    """Refuse to replace files without --overwrite; --resume allows it for those that an earlier run wrote.

    A CASE.json of another tool in a remote store is refused when its job is carried out.

    Raises:
        TargetExists: An output exists, or is not ours.
        UnwritableTarget: A folder has the name of an output.
    """
    options = plan.options
    outputs = [job.place_of(path) for job in plan.jobs for path in job.outputs]
    for place in (*outputs, *plan.shared):
        if isinstance(place, Path) and place.is_dir():
            raise UnwritableTarget(
                "is a folder, but a file must be written there.", where=place, cure="Remove it, or give another -o."
            )
    if options.overwrite:
        return
    foreign = [*(_foreign_reports(plan) if options.resume else ()), *foreign_lists(plan.failures, plan.summary)]
    if foreign:
        raise TargetExists(
            "exists already and was not written by a segmentation.",
            where=str(foreign[0]),
            cure="Use --overwrite to replace it, or another -o.",
        )
    existing = [] if options.resume else _existing(plan.jobs)
    if existing:
        raise TargetExists(
            f"{len(existing)} of {len(outputs)} outputs exist already.",
            where=str(existing[0]),
            cure="Use --overwrite to replace them, --resume to continue an earlier run, or another -o.",
        )


def require_writable_folders(plan: Plan) -> None:
    """Refuse folders in which the output with the longest name cannot be written, and stores that take no files.

    Raises:
        UnwritableTarget, Unreachable, PackageMissing.
    """
    longest: dict[Path, str] = {}
    for place in (job.place_of(path) for job in plan.jobs for path in job.outputs):
        if isinstance(place, Path):
            names = longest.get(place.parent, ""), place.name
            longest[place.parent] = max(names, key=lambda name: len(os.fsencode(name)))
    for folder, name in longest.items():
        require_writable(folder, name)
    for store in {store for job in plan.jobs if (store := _store_of(job)) is not None}:
        probe = store / f".probe-{secrets.token_hex(4)}"
        write_object(probe, {})
        remove_file(probe)


def foreign_lists(failures: Place | None, summary: Place | None) -> Iterator[Place]:
    """Yield those files, with the names of a run's lists, that other tools, or `evaluate`, wrote."""
    for place, is_ours in ((failures, is_failure_list), (summary, is_case_summary)):
        if place is not None and is_file_at(place) and not is_ours(place):
            yield place


def _foreign_reports(plan: Plan) -> Iterator[Path]:
    """Yield local files with the name of a report that other tools wrote."""
    for place in plan.reports.values():
        if isinstance(place, Path) and place.exists() and not is_report(place):
            yield place


def _existing(jobs: Sequence[Job]) -> list[Place]:
    """Return the outputs that exist; a store is listed once."""
    names = {store: files_below(store) for job in jobs[:1] if (store := _store_of(job)) is not None}
    found: list[Place] = []
    for job in jobs:
        store = _store_of(job)
        for path in job.outputs:
            if path.exists() if store is None else path.as_posix() in names[store]:
                found.append(job.place_of(path))
    return found


def _store_of(job: Job) -> Url | None:
    return None if job.remote is None else job.remote.output


def _resolved(place: Place) -> Place:
    return place if isinstance(place, Url) else resolved_path(place)
