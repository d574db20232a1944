"""One run of a study: train, segment the fold's validation cases, score them, and write run.json."""

from __future__ import annotations

import gc
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from types import MappingProxyType
from typing import Any

import torch

from sautomed.errors import MemoryShortage, SautomedError
from sautomed.evaluation.evaluate import evaluate
from sautomed.inference.device import is_memory_shortage
from sautomed.scans.files import write_json, write_text
from sautomed.study.costs import describe_machine
from sautomed.study.data import StudyData
from sautomed.study.folder import StudyFolder
from sautomed.study.nnunet_adapter import NNUNET_ADAPTER
from sautomed.study.own_adapter import OWN_ADAPTER
from sautomed.study.plan import PlannedRun
from sautomed.study.report.runs import Costs, RunStatus
from sautomed.study.study_file import StudyFile
from sautomed.study.system_adapter import Listener, RunTask, SegmentedFold, SystemAdapter, Trained

# Systems in packages of their own, by the names that `plan.EXTERNAL_CHECKS` has, too; all others are ours.
EXTERNAL_ADAPTERS: Mapping[str, SystemAdapter] = MappingProxyType({"nnunet": NNUNET_ADAPTER})


def carry_out(
    run: PlannedRun, study: StudyFile, data: StudyData, folder: StudyFolder, device: str, listener: Listener
) -> RunStatus:
    """Carry out a run and write its run.json, the last of its files; return how it ended.

    An error is written to run.json, so that the other runs go on; only Ctrl-C and the like are raised.
    """
    task = _make_task(run, study, data, folder, device)
    shutil.rmtree(task.output, ignore_errors=True)  # of an earlier attempt, perhaps with other settings
    entries = _entries_before(task, study)
    if run.left_out is not None:
        return _end(task, entries, "left_out", error={"id": "", "text": run.left_out})
    try:
        trained, segmented = _train_segment_score(task, study, listener)
    except SautomedError as error:
        return _end(task, entries, "failed", error={"id": error.id, "text": str(error)})
    except Exception as error:  # noqa: BLE001  (a bug in one system must not cost the night's other runs)
        write_text(task.output / "error.txt", traceback.format_exc())
        return _end(task, entries, "failed", error=_describe_error(error))
    finally:
        _free_memory()
    return _end(task, entries, "done", **_entries_after(task, trained, segmented))


def record_failure(
    run: PlannedRun, study: StudyFile, data: StudyData, folder: StudyFolder, error: SautomedError
) -> RunStatus:
    """Write run.json of a run whose process could not write it, as it was lost."""
    task = _make_task(run, study, data, folder, "auto")
    return _end(task, _entries_before(task, study), "failed", error={"id": error.id, "text": str(error)})


def _make_task(run: PlannedRun, study: StudyFile, data: StudyData, folder: StudyFolder, device: str) -> RunTask:
    return RunTask(
        run=run,
        data_folder=data.folder,
        dataset=data.dataset,
        fold=data.folds[run.fold],
        splits=folder.splits(data.name),
        prepared=folder.prepared(data.name),
        training=folder.training(run),
        output=folder.output(run),
        minutes=study.minutes,
        clock=study.clock,
        device=device,
    )


def _train_segment_score(task: RunTask, study: StudyFile, listener: Listener) -> tuple[Trained, SegmentedFold]:
    adapter = EXTERNAL_ADAPTERS.get(task.run.preset, OWN_ADAPTER)
    trained = adapter.train(task, listener)
    _free_memory()  # of optimiser and gradients, before memory is measured
    segmented = adapter.segment(task, listener)
    evaluate(
        task.predictions,
        task.data_folder,
        task.output / "scores",
        layout=task.dataset.layout,
        names=dict(task.dataset.labels),
        tolerance_mm=study.tolerance_mm,
        convention=study.convention,
        on_case=listener.on_scored,
    )
    return trained, segmented


def _entries_before(task: RunTask, study: StudyFile) -> dict[str, Any]:
    """Return the entries of run.json that are known before the run; `report.runs.Run` explains them."""
    run, dataset = task.run, task.dataset
    return {
        "id": run.id,
        "order": run.order,
        "label": run.label,
        "model": run.model,
        "preset": run.preset,
        "setting": run.setting,
        "dataset": run.dataset,
        "dataset_folder": str(task.data_folder),
        "layout": dataset.layout,
        "plane": "axial",
        "fold": run.fold,
        "seed": run.seed,
        "prompts": run.expected_prompts,
        "note": run.note,
        "convention": study.convention,
        "tolerance_mm": study.tolerance_mm,
        "status": None,
        "error": None,
        "cases": list(task.fold.val),
        "train_cases": list(task.fold.train),
        "labels": {str(value): name for value, name in sorted(dataset.labels.items())},
        "patients": {case: patient for case, patient in sorted(dataset.groups.items()) if patient != case},
        "costs": None,
        "machine": describe_machine(),
        "date": date.today().isoformat(),
        "training": None,
    }


def _entries_after(task: RunTask, trained: Trained, segmented: SegmentedFold) -> dict[str, Any]:
    costs = Costs(
        parameters=segmented.parameters,
        trained=segmented.trained,
        flops_per_volume=segmented.flops_per_volume,
        seconds_per_volume=segmented.seconds_per_volume,
        peak_bytes=segmented.peak_bytes,
        cuda_peak_bytes=segmented.cuda_peak_bytes,
        train_minutes=trained.minutes,
        cpu_minutes=trained.cpu_minutes,
        steps=trained.steps,
    )
    return {
        "plane": segmented.plane,
        "prompts": segmented.prompts,
        "train_cases": list(trained.cases),
        "costs": asdict(costs),
        "training": task.training.relative_to(task.output.parents[1]).as_posix(),
    }


def _end(task: RunTask, entries: dict[str, Any], status: RunStatus, **known: Any) -> RunStatus:
    write_json(task.output / "run.json", {**entries, "status": status, **known})
    return status


def _describe_error(error: Exception) -> dict[str, str]:
    if is_memory_shortage(error):
        first = str(error).splitlines()[0] if str(error) else "no details."
        return {"id": MemoryShortage.id, "text": f"ran out of memory: {first} A smaller train.batch needs less."}
    if isinstance(error, OSError):  # a full disk, or a drive that was disconnected
        return {"id": "", "text": f"stopped by the system, see error.txt: {error}"}
    return {"id": "", "text": f"stopped by a bug, see error.txt: {type(error).__name__}: {error}"}


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
