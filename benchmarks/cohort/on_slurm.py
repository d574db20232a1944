"""The cohort on a Slurm cluster of two nodes of this machine, as an array of which one task is killed and requeued.

Needs Debian's packages slurm-wlm and munge, and the rights to start their daemons (root). Nothing outside a temporary
folder is written, except munge's own key and socket.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cohort.outputs import ONE_THREAD, SAUTOMED, done, segment

NEEDED = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "munged")
_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
SchedulerParameters=requeue_delay=0,batch_sched_delay=0,sched_interval=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17001 CPUs=1 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17002 CPUs=1 RealMemory=1000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
_SCRIPT = """#!/bin/bash
#SBATCH --array=0-1
#SBATCH --ntasks=1 --cpus-per-task=1
#SBATCH --requeue
#SBATCH --output={folder}/task-%a.log --open-mode=append
echo "began task $SLURM_ARRAY_TASK_ID on $SLURMD_NODENAME, restart ${{SLURM_RESTART_COUNT:-0}}"
exec {command}
"""


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]


@contextmanager
def two_nodes(folder: Path) -> Iterator[dict[str, str]]:
    """Start munge, a controller and two nodes with a core each; yield the environment of Slurm's commands."""
    folder.mkdir()
    (folder / "state").mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(host=socket.gethostname().partition(".")[0], folder=folder))
    environment = {**ONE_THREAD, "SLURM_CONF": str(configuration), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    daemons = [
        ("munge", ["munged", "--foreground", "--force", f"--socket={folder}/munge.sock"]),
        ("controller", ["slurmctld", "-D"]),
        ("node 1", ["slurmd", "-D", "-N", "n1"]),
        ("node 2", ["slurmd", "-D", "-N", "n2"]),
    ]
    _prepare_munge(folder)
    configuration.write_text(f"{configuration.read_text()}AuthInfo=socket={folder}/munge.sock\n")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in daemons:
            with (folder / f"{name.replace(' ', '-')}.out").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [*command, *_munge_files(folder, name)],
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
            time.sleep(1.0)
        _wait_for_nodes(environment)
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()


def run_on_slurm(scans: Path, output: Path, cases: int, kill_after: int | None, folder: Path) -> float:
    """Segment the cohort as an array of two tasks, kill and requeue one, merge, and return the seconds."""
    with two_nodes(folder) as environment:
        command = " ".join(segment(scans, output, "--shard", "slurm", "--resume", "-q"))
        script = folder / "array.sbatch"
        script.write_text(_SCRIPT.format(folder=folder, command=command))
        began = time.perf_counter()
        job = _ask(environment, "sbatch", "--parsable", str(script))
        if kill_after is not None:
            while done(output) < kill_after:
                _require_running(environment, job, folder)
                time.sleep(0.1)
            _kill_task(environment, job, 1)
            print(f"  killed and requeued a Slurm task with {done(output)} of {cases} cases done")
        while _ask(environment, "squeue", "--noheader", "--jobs", job):
            time.sleep(0.2)
        subprocess.run([*SAUTOMED, "merge", "-q", str(output)], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def _kill_task(environment: dict[str, str], job: str, task: int) -> None:
    """Kill the processes of a task with SIGKILL, as a lost machine would, and put it back into the queue."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            wanted = {f"SLURM_ARRAY_JOB_ID={job}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode()}
            if wanted <= set(variables) and int(folder.name) != os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)
    _ask(environment, "scontrol", "requeue", f"{job}_{task}")


def _prepare_munge(folder: Path) -> None:
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)


def _munge_files(folder: Path, name: str) -> list[str]:
    if name != "munge":
        return []
    names = {"key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
    return [f"--{option}={folder / file}" for option, file in names.items()]


def _wait_for_nodes(environment: dict[str, str]) -> None:
    for _ in range(60):
        states = _ask(environment, "sinfo", "--noheader", "--format=%T %D").split()
        if states == ["idle", "2"]:
            return
        time.sleep(0.5)
    raise SystemExit(f"the two nodes of Slurm did not start: {states}")


def _require_running(environment: dict[str, str], job: str, folder: Path) -> None:
    if not _ask(environment, "squeue", "--noheader", "--jobs", job):
        logs = "\n".join(path.read_text()[-1500:] for path in sorted(folder.glob("task-*.log")))
        raise SystemExit(f"the array ended before its task was killed:\n{logs}")


def _ask(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode and command[0] != "squeue":  # which does not know a job that ended
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()
