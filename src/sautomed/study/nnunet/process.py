"""nnU-Net in a process of its own: its environment, its command, and what its end means."""

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
_TAIL = 12  # lines of a traceback that say what went wrong
_WORKERS = 8  # nnU-Net's own number of processes


def available() -> bool:
    """Whether nnU-Net is installed."""
    return find_spec("nnunetv2") is not None


def require_available() -> None:
    """Raises PackageMissing where nnU-Net is not installed."""
    if not available():
        raise PackageMissing(
            "nnU-Net (the package nnunetv2) is not installed.",
            cure='Install it with: pip install "sautomed[nnunet]", or leave nnU-Net out.',
        )


def environment(step: str, folder: Path, device: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What nnU-Net's process finds in its environment; what the user set of its workers stands.

    Args:
        step: A key of `run.STEPS`.
        folder: Its three folders lie there.
        device: cpu or cuda.
    """
    cores = os.cpu_count() or 1
    own = {
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
        own["nnUNet_n_proc_DA"] = "1"  # its planner takes this for a number of threads, of which 0 would be refused
    return {**workers, **base, **own}


def command(step: str, folder: Path) -> list[str]:
    """The command of one step."""
    return [sys.executable, "-m", "sautomed.study.nnunet.run", step, str(job_path(step, folder))]


def job_path(step: str, folder: Path) -> Path:
    """The file that says what a step has to do."""
    return folder / "jobs" / f"{step}.json"


def result_path(job: Path) -> Path:
    """The file in which a step says what it did."""
    return job.with_name(f"{job.stem}_done.json")


def carry_out(step: str, job: dict[str, Any], folder: Path, device: str) -> dict[str, Any]:
    """Do a step in a process of its own, which writes to nnunet.log in `folder`.

    Args:
        step: A key of `run.STEPS`.
        job: What that function takes.
    Returns:
        What it says.
    Raises:
        ExternalFailed: It stopped; the last lines of what it wrote stand in the message.
        UnwritableTarget.
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
            cure=f"The whole of what it wrote is in {LOG}.",
        )
    done = read_json(result_path(path), ExternalFailed)
    if not isinstance(done, dict):
        raise ExternalFailed(f"holds no object but {json.dumps(done)[:80]}.", where=path, cure="Do the step again.")
    return done


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> int:
    """The exit code of a command that never outlives us, or it would go on writing where the next attempt writes.

    With its workers it is a group, which ends when we are interrupted. When we are killed, its standard input closes,
    for which `run.end_with_parent` waits.
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
    return "\n".join(line for line in lines[-_TAIL:] if line.strip())
