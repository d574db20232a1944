"""Steps that run in nnU-Net's process: python -m sautomed.study.nnunet.steps STEP JOB.json (see `process.run_step`).

nnU-Net reads its folders and numbers of workers from the environment on import, so it is imported within the functions.
"""

from __future__ import annotations

import os
import random
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from sautomed.errors import ExternalFailed
from sautomed.inference.memory import peak_bytes
from sautomed.scans.files import write_json
from sautomed.scans.paths import read_json
from sautomed.study.nnunet.process import result_path

_FOLD = 0


def prepare(number: int, configuration: str, planner: str, memory_gb: float | None) -> dict[str, Any]:
    """Write fingerprint, plans and preprocessed cases. Return the name of the plans."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprints([number], num_processes=default_num_processes, clean=True, show_progress_bar=False)
    plans = api.plan_experiments([number], planner, gpu_memory_target_in_gb=memory_gb)
    api.preprocess([number], plans, (configuration,), (default_num_processes,), show_progress_bar=False)
    return {"plans": plans}


def train(
    data: str, configuration: str, plans: str, device: str, seed: int, budget: dict[str, Any] | None, resume: bool
) -> dict[str, Any]:
    """Train a network on the one fold. Return the name of its folder and its costs.

    Args:
        data: Folder of the preprocessed cases.
        budget: `seconds` left on `clock` at the time `sent`; None trains all of nnU-Net's epochs.
        resume: Whether to continue an interrupted attempt.
    """
    from nnunetv2.run.run_training import maybe_load_checkpoint
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from sautomed.study.nnunet.budget_trainer import BudgetTrainer

    for set_seed in (random.seed, np.random.seed, torch.manual_seed):  # nnU-Net draws from all three
        set_seed(seed)
    trainer = (nnUNetTrainer if budget is None else BudgetTrainer)(
        plans={**read_json(Path(data) / f"{plans}.json", ExternalFailed), "continue_training": resume},
        configuration=configuration,
        fold=_FOLD,
        dataset_json=read_json(Path(data) / "dataset.json", ExternalFailed),
        device=torch.device(device),
    )
    if budget is not None:
        spent_s = time.time() - budget["sent"] if budget["clock"] == "wall" else time.process_time()
        trainer.budget_s, trainer.clock = max(1.0, budget["seconds"] - spent_s), budget["clock"]
    maybe_load_checkpoint(trainer, resume, False)
    torch.backends.cudnn.benchmark = device == "cuda"  # as nnU-Net's own command
    trainer.run_training()
    steps = trainer.iterations if budget is not None else trainer.num_epochs * trainer.num_iterations_per_epoch
    model = Path(trainer.output_folder_base)
    parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    return {"model": model.name, "steps": steps, "parameters": parameters, **_costs()}


def predict(model: str, scans: list[str], predictions: list[str], device: str) -> dict[str, Any]:
    """Write a label map for each scan, one after the other. Return the seconds of each."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, (_FOLD,), "checkpoint_final.pth")
    seconds = []
    for scan, prediction in zip(scans, predictions, strict=True):
        began = time.monotonic()
        predictor.predict_from_files_sequential([[scan]], [prediction.removesuffix(".nii.gz")])
        seconds.append(round(time.monotonic() - began, 3))
    return {"seconds": seconds, **_costs()}


def _costs() -> dict[str, Any]:
    """Return processor time and peak memory of this process and of its workers that have ended."""
    times = os.times()
    cuda = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    processor_s = times.user + times.system + times.children_user + times.children_system
    return {"processor_s": round(processor_s, 1), "peak_bytes": peak_bytes(), "cuda_peak_bytes": cuda}


STEPS: Mapping[str, Callable[..., dict[str, Any]]] = MappingProxyType(
    {"prepare": prepare, "train": train, "predict": predict}
)


def main(step: str, job: str) -> None:
    """Run a step and write its result."""
    result = STEPS[step](**read_json(Path(job), ExternalFailed))
    write_json(result_path(Path(job)), {**_costs(), **result})


def end_with_parent() -> None:
    """End this process and its workers as soon as the process at the other end of standard input has ended."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_when_input_closes, daemon=True).start()


def _end_when_input_closes() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock a forked worker would inherit
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    main(*sys.argv[1:])
