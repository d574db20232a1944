"""A study's folder: where everything lies, whose study it is, which runs have ended, and who is at which run.

Locks are files that the system holds for a living process, so a run whose process was killed is free again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sautomed.errors import BadTable, TargetExists
from sautomed.files import require_writable, write_json
from sautomed.paths import read_json
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

    def splits(self, name: str) -> Path:
        """The folds of a data set, the same for every system."""
        return self.root / "splits" / f"{name}.json"

    def prepared(self, name: str) -> Path:
        """Slices that the trainings of a data set share."""
        return self.root / "prepared" / name

    def training(self, run: PlannedRun) -> Path:
        return self.root / "trainings" / run.training / f"fold_{run.fold}"

    def output(self, run: PlannedRun) -> Path:
        return self.root / "runs" / run.id

    def record(self, run: PlannedRun) -> Path:
        """Exists once the run has ended."""
        return self.output(run) / "run.json"


def open_study(root: Path, study: StudyFile, runs: Sequence[PlannedRun], resume: bool) -> tuple[StudyFolder, StudyFile]:
    """Begin a study in a new folder, or go on with the one that is there.

    Returns:
        Its paths, and the study with the minutes that it began with, if none are given now.
    Raises:
        TargetExists: The folder holds this study and `resume` is not set, or it holds another study or other files.
        UnwritableTarget: Nothing can be written there.
    """
    folder = StudyFolder(root)
    require_writable(root)
    with held(root / "study.lock"):
        before = read_json(folder.description, BadTable) if folder.description.is_file() else None
        if before is not None and not resume:
            raise TargetExists("holds a study already.", where=root, cure="Use --resume to go on, or another -o.")
        if before is None and any(path.name != "study.lock" for path in root.iterdir()):
            raise TargetExists("is not empty, and holds no study.", where=root, cure="Give another folder with -o.")
        if before is not None and study.minutes is None:
            study = study.model_copy(update={"minutes": before.get("study", {}).get("minutes")})
        description = _describe(study, runs)
        if before is not None and before != description:
            raise TargetExists(
                "holds another study: its file, its presets, the folders of its data or its minutes are not those of "
                "now, and scores of the two must not mix.",
                where=root,
                cure="Give the study as it began, or another folder with -o.",
            )
        write_json(folder.description, description)
    return folder, study


def _describe(study: StudyFile, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    shown = ("id", "order", "label", "setting", "dataset", "fold", "seed", "training", "left_out")
    planned = [{name: getattr(run, name) for name in shown} for run in runs]
    return {"title": study.title, "study": study.model_dump(mode="json", by_alias=True), "runs": planned}


class Ended:
    """Which runs have ended, for a process that tries those again that had failed when it began."""

    def __init__(self, folder: StudyFolder, runs: Sequence[PlannedRun]):
        self.folder = folder
        self._tried_again = {run.id: self._stamp(run) for run in runs if self.status(run) == "failed"}

    def __call__(self, run: PlannedRun) -> bool:
        status = self.status(run)
        return status is not None and (status != "failed" or self._tried_again.get(run.id) != self._stamp(run))

    def status(self, run: PlannedRun) -> str | None:
        """done, failed or left_out; None for a run that has not ended."""
        record = self.folder.record(run)
        return str(read_json(record, BadTable).get("status")) if record.is_file() else None

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
