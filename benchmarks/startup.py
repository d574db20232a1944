"""Measure how long `segment` takes from a cold process until the mask of one small scan is written, phase by phase.

    python benchmarks/startup.py                     the model that ships, a phantom: under two minutes
    python benchmarks/startup.py --model RUN/fold_0/model --scan SCAN.nii.gz

Every run is a new process with the files in the system's cache, as they are from the second scan of a day on. The peer
is a process that does no more than import torch, which is the least that any tool on PyTorch takes; both in turn.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import machine, print_table

GOAL_S = 4.0  # ours: the whole command on two cores, without drawing the preview
PHASES = ("python and command line", "imports", "load", "check", "read", "walk", "write", "end")
PEER = "import torch"

# Runs in the new process; prints one JSON object of seconds on its last line.
CHILD = """
import json, sys, time
from pathlib import Path
import sautomed.cli
started = time.time()
import sautomed.inference.batch as batch, sautomed.inference.model as models
imported = time.time()
inner, seconds = models.load, {}
def timed(*arguments):
    since = time.time()
    model = inner(*arguments)
    seconds["load"] = time.time() - since
    seconds["loaded"] = time.time()
    return model
models.load = timed
try:
    began, scan, model, mask, report = sys.argv[1:]
    flags = ["--json", "--no-preview", "--overwrite", "--quiet"]
    sys.argv = ["sautomed", "segment", "-i", scan, "-m", model, "-o", mask, *flags]
    sautomed.cli.main()
except SystemExit as ended:
    assert not ended.code, ended.code
ended = time.time()
report = json.loads(Path(report).read_text())["seconds"]
inside = sum(report.values())
print(json.dumps({
    "python and command line": started - float(began), "imports": imported - started, "load": seconds["load"],
    "check": ended - seconds["loaded"] - inside, "read": report["read"], "walk": report["segment"],
    "write": report["write"], "ended": ended,
}))
"""


def run_segment(scan: Path, model: str, folder: Path) -> dict[str, float]:
    """Segment the scan in a new process, and return the seconds of each phase and of the whole."""
    mask, report = folder / "mask.nii.gz", folder / "mask.json"
    began = time.time()
    command = [sys.executable, "-c", CHILD, str(began), str(scan), model, str(mask), str(report)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    finished = time.time()
    seconds = json.loads(done.stdout.splitlines()[-1])
    seconds["end"] = finished - seconds.pop("ended")
    return {**seconds, "whole": finished - began}


def run_peer() -> float:
    """Return the seconds of a new process that imports torch."""
    began = time.time()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.time() - began


def make_phantom(folder: Path) -> Path:
    """Write a phantom and return its scan."""
    command = [sys.executable, "-m", "sautomed", "phantom", "-o", str(folder), "-n", "1", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next((folder / "imagesTr").glob("*.nii.gz"))


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = options.scan or make_phantom(folder / "phantom")
        run_segment(scan, options.model, folder)  # brings the files into the system's cache
        run_peer()
        runs, peers = [], []
        for _ in range(options.repeats):
            runs.append(run_segment(scan, options.model, folder))
            peers.append(run_peer())
    print(f"segment of {scan.name} with {options.model}, median of {options.repeats}\n{machine()}\n")
    medians = {phase: median(run[phase] for run in runs) for phase in (*PHASES, "whole")}
    print_table(["phase", "s"], [[phase, f"{seconds:.2f}"] for phase, seconds in medians.items()])
    whole, peer = medians["whole"], median(peers)
    verdict = "met" if whole <= GOAL_S else "missed"
    print(f"\n{PEER}: {peer:.2f} s; whole / {PEER}: {whole / peer:.2f}")
    print(f"goal: at most {GOAL_S:.1f} s on two cores; {verdict}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="phantom-ct", help="folder or name of a model; default phantom-ct")
    parser.add_argument("--scan", type=Path, help="default: a phantom")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, in turn, after one that does not count")
    return parser.parse_args()


if __name__ == "__main__":
    main()
