"""One run of a study: train, segment the fold's validation cases, score them, and write down how it went."""

from __future__ import annotations

import gc
import shutil
import traceback
from dataclasses import asdict
from datetime import date
from typing import Any

import torch

from sautomed.errors import MemoryShortage, SautomedError
from sautomed.evaluation.evaluate import evaluate
from sautomed.inference.segmenting import is_memory_shortage
from sautomed.scans.files import write_json, write_text
from sautomed.study.costs import machine
from sautomed.study.data import StudyData
from sautomed.study.external import EXTERNAL
from sautomed.study.folder import StudyFolder
from sautomed.study.own import OWN
from sautomed.study.plan import PlannedRun, StudyFile
from sautomed.study.report.runs import Costs
from sautomed.study.systems import Listener, Segmented, Task, Trained


def carry_out(
    run: PlannedRun, study: StudyFile, data: StudyData, folder: StudyFolder, device: str, listener: Listener
) -> str:
    """Work a run to its end and write its run.json, the last of its files; returns its status.

    Whatever goes wrong is written down, so that the other runs go on; only Ctrl-C and its like come through.
    """
    task = _task(run, study, data, folder, device)
    shutil.rmtree(task.output, ignore_errors=True)  # of an earlier attempt, perhaps with other settings
    entry = _first_entries(task, study)
    if run.left_out is not None:
        return _end(task, entry, "left_out", error={"id": "", "text": run.left_out})
    try:
        trained, segmented = _work(task, study, listener)
    except SautomedError as error:
        return _end(task, entry, "failed", error={"id": error.id, "text": str(error)})
    except Exception as error:  # noqa: BLE001  (a bug in one system must not cost the night's other runs)
        write_text(task.output / "error.txt", traceback.format_exc())
        return _end(task, entry, "failed", error=_describe(error))
    finally:
        _let_go_of_memory()
    return _end(task, entry, "done", **_last_entries(task, trained, segmented))


def _task(run: PlannedRun, study: StudyFile, data: StudyData, folder: StudyFolder, device: str) -> Task:
    return Task(
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


def _work(task: Task, study: StudyFile, listener: Listener) -> tuple[Trained, Segmented]:
    system = EXTERNAL.get(task.run.preset, OWN)
    trained = system.train(task, listener)
    _let_go_of_memory()  # of optimiser and gradients, before memory is measured
    segmented = system.segment(task, listener)
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


def _first_entries(task: Task, study: StudyFile) -> dict[str, Any]:
    """What is known of a run before it begins; `report.study.runs.Run` says what they mean."""
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
        "machine": machine(),
        "date": date.today().isoformat(),
        "training": None,
    }


def _last_entries(task: Task, trained: Trained, segmented: Segmented) -> dict[str, Any]:
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


def _end(task: Task, entry: dict[str, Any], status: str, **known: Any) -> str:
    write_json(task.output / "run.json", {**entry, "status": status, **known})
    return status


def _describe(error: Exception) -> dict[str, str]:
    if is_memory_shortage(error):
        first = str(error).splitlines()[0] if str(error) else "no more is known"
        return {"id": MemoryShortage.id, "text": f"ran out of memory: {first} A smaller train.batch needs less."}
    if isinstance(error, OSError):  # a full disk, or a drive that went away
        return {"id": "", "text": f"stopped by the system, see error.txt: {error}"}
    return {"id": "", "text": f"stopped by a bug, see error.txt: {type(error).__name__}: {error}"}


def _let_go_of_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
