"""Copy the files of a job between remote stores and a temporary folder, in which the job is carried out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sautomed.errors import MissingFile, SautomedError, UnwritableTarget
from sautomed.inference.batch.jobs import Job, Plan, Remote
from sautomed.inference.batch.places import Url
from sautomed.inference.batch.remote import (
    Found,
    RemoteFile,
    fetch,
    files_below,
    look_at,
    read_bytes,
    remove,
    require_safe_names,
    send,
)
from sautomed.inference.batch.scans import voxel_file

_HEADERS = (".mhd", ".nhdr")  # of voxels in another file


class Stage:
    """A job with places on the local disk for those of its files that are remote.

    Attributes:
        job: The job with these places. Its scan is there after `fetch`; `send` copies its outputs to where they belong.
    """

    def __init__(self, job: Job, remote: Remote, folder: Path, plan: Plan):
        self._remote, self._folder = remote, folder
        self._found = None if remote.scan is None else _without_outputs(look_at(remote.scan), remote.scan, job, plan)
        self._outputs = folder / "outputs"
        staged = job if remote.output is None else _with_outputs_in(self._outputs, job)
        scan = job.scan if remote.scan is None else folder / "scan" / job.scan
        self.job = replace(staged, scan=scan, remote=Remote(remote.scan, version=self._version(scan)))
        self._fetched = remote.scan is None

    def _version(self, scan: Path) -> str | None:
        return None if self._found is None or scan.name.lower().endswith(_HEADERS) else self._found.version

    def fetch(self) -> None:
        """Copy the scan to its place, unless it is there.

        Raises:
            MissingFile, AccessRefused, Unreachable.
            DataError: A name in a folder leads out of it.
            UnwritableTarget: The local disk has too little space.
        """
        url, found, scan = self._remote.scan, self._found, self.job.scan
        if self._fetched or url is None or found is None:
            return
        require_safe_names(url, found.files)
        self._require_space(found)
        fetch({url / name: scan / name for name in found.files} if found.is_folder else {url: scan})
        voxels = None if found.is_folder else voxel_file(scan)
        if voxels is not None:
            name = str(voxels.relative_to(scan.parent)) if voxels.is_relative_to(scan.parent) else str(voxels)
            require_safe_names(url, [name])
            with suppress(MissingFile):  # reading the header reports that
                fetch({url.parent / name: voxels})
        self._fetched = True

    def send(self) -> None:
        """Copy the outputs to where they belong: CASE.json, which marks the case as done, last.

        Raises:
            UnwritableTarget, Unreachable.
        """
        store, report = self._remote.output, self.job.report
        if store is None:
            return
        if report is not None:
            remove(store / report.relative_to(self._outputs))  # that of an earlier run may not vouch for new files
        send({path: store / path.relative_to(self._outputs) for path in self.job.results if path.exists()})
        if report is not None:
            send({report: store / report.relative_to(self._outputs)})

    def results(self) -> Mapping[str, RemoteFile | None]:
        """Return what the store says of each result, by its name; None of those that are not there."""
        store, report = self._remote.output, self.job.report
        if store is None or report is None:
            return {}
        found = files_below(store / report.parent.relative_to(self._outputs), report.name.removesuffix(".json"))
        return {path.name: found.get(path.name) for path in self.job.results}

    def sha256_of_result(self, name: str) -> str | None:
        """Return the hash of a result in the store, which is read for it; None if it is not there."""
        store, report = self._remote.output, self.job.report
        if store is None or report is None:
            return None
        content = read_bytes(store / report.parent.relative_to(self._outputs) / name)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def _require_space(self, found: Found) -> None:
        needed, free = sum(file.size or 0 for file in found.files.values()), shutil.disk_usage(self._folder).free
        if free < needed:
            raise UnwritableTarget(
                f"has {free / 1e6:.0f} MB of free space, but a scan of {needed / 1e6:.0f} MB must be copied there.",
                where=self._folder.parent,
                cure="Free space there, or name another folder in the environment variable TMPDIR.",
            )

    def named_by_places(self, text: str) -> str:
        """Return a text with the places that are meant, instead of those in the temporary folder."""
        if self._remote.scan is not None:
            text = text.replace(str(self.job.scan), str(self._remote.scan))
        return text if self._remote.output is None else text.replace(str(self._outputs), str(self._remote.output))


@contextmanager
def staged(job: Job, remote: Remote, plan: Plan) -> Iterator[Stage]:
    """Give a job a temporary folder for its remote files, as long as the context lasts.

    Errors within name the places that are meant.
    """
    with TemporaryDirectory(prefix="sautomed-") as folder:
        stage = Stage(job, remote, Path(folder), plan)
        try:
            yield stage
        except SautomedError as error:
            raise error.reworded(stage.named_by_places) from error


def _without_outputs(found: Found, scan: Url, job: Job, plan: Plan) -> Found:
    """Leave out the outputs, which are no part of a DICOM scan even if they are in its folder."""
    if not found.is_folder:
        return found
    outputs = {*map(job.place_of, job.outputs), *plan.shared}
    folder = plan.folder if isinstance(plan.folder, Url) and scan.holds(plan.folder) else None

    def is_output(url: Url) -> bool:
        return url in outputs or (folder is not None and folder.holds(url))

    return replace(found, files={name: file for name, file in found.files.items() if not is_output(scan / name)})


def _with_outputs_in(folder: Path, job: Job) -> Job:
    return replace(
        job,
        targets=tuple(folder / target for target in job.targets),
        preview=None if job.preview is None else folder / job.preview,
        report=None if job.report is None else folder / job.report,
        prompts=None if job.prompts is None else folder / job.prompts,
    )
