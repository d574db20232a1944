"""The folder of a study: its paths, which study it holds, which runs have ended, and which process has which run.

Locks are files that the operating system holds for a living process, so a run of a killed process is free again.
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
from sautomed.study.plan import PlannedRun
from sautomed.study.report.runs import RunStatus
from sautomed.study.resume import KnownRun, changed_data, describe, known_runs, refuse_mixture
from sautomed.study.study_file import StudyFile


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study."""

    root: Path

    @property
    def description(self) -> Path:
        return self.root / "study.json"

    def data(self, name: str) -> Path:
        """Folder of phantoms that the study wrote."""
        return self.root / "data" / name

    def data_lock(self, name: str) -> Path:
        return self.root / "data" / f"{name}.lock"

    def splits(self, name: str) -> Path:
        """File of a data set's folds, the same for every system."""
        return self.root / "splits" / f"{name}.json"

    def prepared(self, name: str) -> Path:
        """Folder of slices that the trainings of a data set share."""
        return self.root / "prepared" / name

    def training(self, run: PlannedRun | KnownRun) -> Path:
        return self.root / "trainings" / run.training / f"fold_{run.fold}"

    def output(self, run: PlannedRun | KnownRun) -> Path:
        return self.root / "runs" / run.id

    def record(self, run: PlannedRun | KnownRun) -> Path:
        """File that exists once the run has ended."""
        return self.output(run) / "run.json"

    def read_record(self, run: PlannedRun | KnownRun) -> dict[str, Any] | None:
        """Read run.json; None for a run that has not ended. Raises BadTable if it is damaged."""
        path = self.record(run)
        return _read_object(path, "Delete the run's folder, and it is done again.") if path.is_file() else None

    def read_description(self) -> dict[str, Any] | None:
        """Read study.json; None if there is no study yet. Raises BadTable if it is damaged."""
        return _read_object(self.description, "Give another folder with -o.") if self.description.is_file() else None


def is_trained(training: Path) -> bool:
    """Whether a training of this package has finished; the model card is the last file that it writes."""
    return (training / "model" / "MODEL_CARD.md").is_file()


def open_study(root: Path, study: StudyFile, runs: Sequence[PlannedRun], resume: bool) -> tuple[StudyFolder, StudyFile]:
    """Begin a study in a new folder, or resume the one in it, whose file may have changed since.

    Returns:
        The folder, and the study with the minutes that it began with if it gives none now.
    Raises:
        TargetExists: The folder holds a study and `resume` is not set, or runs that this file would make in another
            way, or other files.
        BadTable: study.json is damaged.
        UnwritableTarget: The folder cannot be written to.
    """
    folder = StudyFolder(root)
    require_writable(root)
    with locked(root / "study.lock"):
        before = folder.read_description()
        if before is not None and not resume:
            raise TargetExists("holds a study already.", where=root, cure="Use --resume to go on, or another -o.")
        if before is None and any(path.name != "study.lock" for path in root.iterdir()):
            raise TargetExists("is not empty, and holds no study.", where=root, cure="Give another folder with -o.")
        known: list[KnownRun] = []
        if before is not None:
            known = known_runs(before, folder.description)
            study = _resume(folder, before, known, study, runs)
        write_json(folder.description, describe(study, runs, known))
    return folder, study


def _resume(
    folder: StudyFolder,
    before: Mapping[str, Any],
    known: Sequence[KnownRun],
    study: StudyFile,
    runs: Sequence[PlannedRun],
) -> StudyFile:
    """Check that nothing would mix; return the study with the minutes that it began with."""
    if study.minutes is None:
        study = study.model_copy(update={"minutes": before["study"].get("minutes")})
    done = {run.id for run in known if (folder.read_record(run) or {}).get("status") == "done"}
    begun = [run for run in known if run.id in done or folder.training(run).is_dir()]

    def settings_of(run: KnownRun) -> dict[str, Any] | None:
        path = folder.training(run) / "config.json"
        return read_json(path, BadTable) if path.is_file() else None

    refuse_mixture(folder.root, before, study, runs, begun=begun, done=done, settings_of=settings_of)
    for name in changed_data(known, study):  # no run of it has begun, or it would have been refused
        with locked(folder.data_lock(name)):
            folder.splits(name).unlink(missing_ok=True)
            shutil.rmtree(folder.data(name), ignore_errors=True)
    return study


def _read_object(path: Path, cure: str) -> dict[str, Any]:
    content = read_json(path, BadTable)
    if not isinstance(content, dict):
        raise BadTable("must hold one JSON object.", where=path, cure=cure)
    return content


class EndedRuns:
    """Which runs have ended; those that had failed when this object was made count as not ended, until tried again."""

    def __init__(self, folder: StudyFolder, runs: Sequence[PlannedRun]):
        self.folder = folder
        self._failed_before = {run.id: self._written_ns(run) for run in runs if self.status(run) == "failed"}

    def count(self, runs: Sequence[PlannedRun]) -> int:
        return sum(map(self._has_ended, runs))

    def remaining(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Return runs that have not ended and are the same in study.json, which another process may have replaced."""
        described = self.folder.read_description() or {}
        planned = {run["id"]: (run["training"], run["segment"]) for run in described.get("runs", ())}
        return [run for run in runs if planned.get(run.id) == (run.training, run.segment) and not self._has_ended(run)]

    def status(self, run: PlannedRun) -> RunStatus | None:
        """Return how a run ended; None if it has not, or if it was left out for a reason that the file has changed."""
        record = self.folder.read_record(run) or {}
        reason = (record.get("error") or {}).get("text")
        return None if record.get("status") == "left_out" and run.left_out != reason else record.get("status")

    def _has_ended(self, run: PlannedRun) -> bool:
        status = self.status(run)
        return status is not None and (status != "failed" or self._failed_before.get(run.id) != self._written_ns(run))

    def _written_ns(self, run: PlannedRun) -> int:
        return self.folder.record(run).stat().st_mtime_ns


@contextmanager
def claimed(folder: StudyFolder, run: PlannedRun) -> Iterator[bool]:
    """Claim a run for this process until the end of the block; False if another process has it.

    False, too, while another process trains the model that this run needs.
    """
    locks = [folder.root / "runs" / f"{run.id}.lock"]
    if not is_trained(folder.training(run)):
        locks.append(folder.root / "trainings" / f"{run.training}__fold{run.fold}.lock")
    with ExitStack() as stack:
        try:
            for lock in locks:
                stack.enter_context(locked(lock, wait_s=0))
        except Timeout:
            yield False
        else:
            yield True


@contextmanager
def locked(lock: Path, wait_s: float = -1) -> Iterator[None]:
    """Hold a lock file during the block; -1 waits for it without limit. Raises filelock.Timeout."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=wait_s):
        yield
