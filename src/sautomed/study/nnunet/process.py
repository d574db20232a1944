"""How a step of nnU-Net is started in a process of its own: environment, command, result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from sautomed.errors import ExternalFailed, PackageMissing
from sautomed.scans.files import write_json
from sautomed.scans.paths import read_json

LOG = "nnunet.log"
_LAST_LINES = 12  # ours: enough for the end of a traceback
_WORKERS = 8  # nnU-Net's own number of processes


def available() -> bool:
    """Whether nnU-Net is installed."""
    return find_spec("nnunetv2") is not None


def require_available() -> None:
    """Raise PackageMissing if nnU-Net is not installed."""
    if not available():
        raise PackageMissing(
            "nnU-Net (the package nnunetv2) is not installed.",
            cure='Install it with: pip install "sautomed[nnunet]", or leave nnU-Net out.',
        )


def environment(step: str, folder: Path, device: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of nnU-Net's process; numbers of workers that the user has set are kept.

    Args:
        step: A key of `steps.STEPS`.
        folder: Folder of the training, which holds nnU-Net's three folders.
        device: cpu or cuda.
        base: Environment of this process.
    """
    cores = os.cpu_count() or 1
    fixed = {
        "nnUNet_raw": str((folder / "raw").absolute()),
        "nnUNet_preprocessed": str((folder / "preprocessed").absolute()),
        "nnUNet_results": str((folder / "results").absolute()),
        "MPLBACKEND": "agg",
    }
    # On a CPU every worker would take a core from the training.
    workers = {"nnUNet_def_n_proc": "1" if device == "cpu" else str(min(_WORKERS, cores))}
    if device == "cpu":
        workers["nnUNet_n_proc_DA"] = "0"
    if step == "prepare":
        fixed["nnUNet_n_proc_DA"] = "1"  # its planner uses this as a number of threads, which must not be 0
    return {**workers, **base, **fixed}


def command(step: str, folder: Path) -> list[str]:
    """Return the command line of one step."""
    return [sys.executable, "-m", "sautomed.study.nnunet.steps", step, str(job_path(step, folder))]


def job_path(step: str, folder: Path) -> Path:
    """Return the file that holds a step's arguments."""
    return folder / "jobs" / f"{step}.json"


def result_path(job: Path) -> Path:
    """Return the file that holds a step's result."""
    return job.with_name(f"{job.stem}_done.json")


def run_step(step: str, job: dict[str, Any], folder: Path, device: str) -> dict[str, Any]:
    """Run a step in a process of its own, which writes to nnunet.log in `folder`.

    Args:
        step: A key of `steps.STEPS`.
        job: Arguments of that function.
    Returns:
        Its result.
    Raises:
        ExternalFailed: It stopped; the message has the last lines of its log.
        UnwritableTarget: `folder` cannot be written to.
    """
    path = job_path(step, folder)
    write_json(path, job)
    result_path(path).unlink(missing_ok=True)
    with (folder / LOG).open("ab") as stream:
        start = stream.tell()
        code = _run(command(step, folder), environment(step, folder, device), stream)
    if code or not result_path(path).is_file():
        raise ExternalFailed(
            f"nnU-Net stopped in step {step} with exit code {code}:\n{_last_lines(folder / LOG, start)}\n",
            where=folder,
            cure=f"Correct what it names, then run it again; its whole output is in {LOG}.",
        )
    result = read_json(result_path(path), ExternalFailed)
    if not isinstance(result, dict):
        raise ExternalFailed(
            f"must hold one JSON object, but holds {json.dumps(result)[:80]}.",
            where=result_path(path),
            cure="Run the step again.",
        )
    return result


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> int:
    """Run a command and return its exit code. It must not outlive us, as the next attempt writes to the same folder.

    The command and its workers are a process group, which is killed when this process is interrupted. When this process
    is killed, the command's standard input closes, and `steps.end_with_parent` ends it.
    """
    with subprocess.Popen(
        arguments, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            return process.wait()
        except BaseException:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            raise


def _last_lines(log: Path, start: int) -> str:
    with log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines[-_LAST_LINES:] if line.strip())
