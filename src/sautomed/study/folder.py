"""A study's folder: where everything lies, whose study it is, which runs have ended, and who is at which run.

Locks are files that the system holds for a living process, so a run whose process was killed is free again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sautomed.errors import BadTable, TargetExists
from sautomed.scans.files import require_writable, write_json
from sautomed.scans.paths import read_json
from sautomed.study.continuing import Known, describe, known_runs, other_data, refuse_mixture
from sautomed.study.own import is_trained
from sautomed.study.plan import PlannedRun, StudyFile


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study."""

    root: Path

    @property
    def description(self) -> Path:
        return self.root / "study.json"

    def data(self, name: str) -> Path:
        """Phantoms that the study made."""
        return self.root / "data" / name

    def data_lock(self, name: str) -> Path:
        return self.root / "data" / f"{name}.lock"

    def splits(self, name: str) -> Path:
        """The folds of a data set, the same for every system."""
        return self.root / "splits" / f"{name}.json"

    def prepared(self, name: str) -> Path:
        """Slices that the trainings of a data set share."""
        return self.root / "prepared" / name

    def training(self, run: PlannedRun | Known) -> Path:
        return self.root / "trainings" / run.training / f"fold_{run.fold}"

    def output(self, run: PlannedRun | Known) -> Path:
        return self.root / "runs" / run.id

    def record(self, run: PlannedRun | Known) -> Path:
        """Exists once the run has ended."""
        return self.output(run) / "run.json"

    def read_record(self, run: PlannedRun | Known) -> dict[str, Any] | None:
        """run.json; None for a run that has not ended. Raises BadTable where it is damaged."""
        path = self.record(run)
        return _read_object(path, "Take the run's folder away, and it is done again.") if path.is_file() else None

    def read_description(self) -> dict[str, Any] | None:
        """study.json; None where there is no study yet. Raises BadTable where it is damaged."""
        return _read_object(self.description, "Give another folder with -o.") if self.description.is_file() else None


def open_study(root: Path, study: StudyFile, runs: Sequence[PlannedRun], resume: bool) -> tuple[StudyFolder, StudyFile]:
    """Begin a study in a new folder, or go on with the one that is there, whose file may have changed since.

    Returns:
        Its paths, and the study with the minutes that it began with, if none are given now.
    Raises:
        TargetExists: The folder holds a study and `resume` is not set, or runs that this file would make otherwise, or
            other files.
        BadTable: study.json is damaged.
        UnwritableTarget: Nothing can be written there.
    """
    folder = StudyFolder(root)
    require_writable(root)
    with held(root / "study.lock"):
        before = folder.read_description()
        if before is not None and not resume:
            raise TargetExists("holds a study already.", where=root, cure="Use --resume to go on, or another -o.")
        if before is None and any(path.name != "study.lock" for path in root.iterdir()):
            raise TargetExists("is not empty, and holds no study.", where=root, cure="Give another folder with -o.")
        known: list[Known] = []
        if before is not None:
            known = known_runs(before, folder.description)
            study = _go_on(folder, before, known, study, runs)
        write_json(folder.description, describe(study, runs, known))
    return folder, study


def _go_on(
    folder: StudyFolder, before: Mapping[str, Any], known: Sequence[Known], study: StudyFile, runs: Sequence[PlannedRun]
) -> StudyFile:
    """The study with the minutes that it began with, once it is sure that nothing is mixed."""
    if study.minutes is None:
        study = study.model_copy(update={"minutes": before["study"].get("minutes")})
    done = {run.id for run in known if (folder.read_record(run) or {}).get("status") == "done"}
    begun = [run for run in known if run.id in done or folder.training(run).is_dir()]

    def settings_of(run: Known) -> dict[str, Any] | None:
        path = folder.training(run) / "config.json"
        return read_json(path, BadTable) if path.is_file() else None

    refuse_mixture(folder.root, before, study, runs, begun=begun, done=done, settings_of=settings_of)
    for name in other_data(known, study):  # nothing of it was begun, so what was made of it goes
        with held(folder.data_lock(name)):
            folder.splits(name).unlink(missing_ok=True)
            shutil.rmtree(folder.data(name), ignore_errors=True)
    return study


def _read_object(path: Path, cure: str) -> dict[str, Any]:
    found = read_json(path, BadTable)
    if not isinstance(found, dict):
        raise BadTable("must hold one JSON object.", where=path, cure=cure)
    return found


class Ended:
    """Which runs have ended, for a process that tries those again that had failed when it began."""

    def __init__(self, folder: StudyFolder, runs: Sequence[PlannedRun]):
        self.folder = folder
        self._tried_again = {run.id: self._stamp(run) for run in runs if self.status(run) == "failed"}

    def __call__(self, run: PlannedRun) -> bool:
        status = self.status(run)
        return status is not None and (status != "failed" or self._tried_again.get(run.id) != self._stamp(run))

    def left(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Those that have not ended and that the newest file has; another process may have brought a newer one."""
        described = self.folder.read_description() or {}
        planned = {run["id"]: (run["training"], run["segment"]) for run in described.get("runs", ())}
        return [run for run in runs if planned.get(run.id) == (run.training, run.segment) and not self(run)]

    def status(self, run: PlannedRun) -> str | None:
        """done, failed or left_out; None for a run that has not ended, or that was left out and no longer is so."""
        record = self.folder.read_record(run) or {}
        reason = (record.get("error") or {}).get("text")
        return None if record.get("status") == "left_out" and run.left_out != reason else record.get("status")

    def _stamp(self, run: PlannedRun) -> int:
        return self.folder.record(run).stat().st_mtime_ns


@contextmanager
def claimed(folder: StudyFolder, run: PlannedRun) -> Iterator[bool]:
    """Whether the run is this process's until the end of the block; not so while another one is at it.

    Nor while another process trains the model that this run needs, too.
    """
    locks = [folder.root / "runs" / f"{run.id}.lock"]
    if not is_trained(folder.training(run)):
        locks.append(folder.root / "trainings" / f"{run.training}__fold{run.fold}.lock")
    with ExitStack() as stack:
        try:
            for lock in locks:
                stack.enter_context(held(lock, wait_s=0))
        except Timeout:
            yield False
        else:
            yield True


@contextmanager
def held(lock: Path, wait_s: float = -1) -> Iterator[None]:
    """Hold a lock file for the block; -1 waits for it without end. Raises filelock.Timeout."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=wait_s):
        yield
