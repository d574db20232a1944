"""Kill a batch at random moments, resume it, and compare its outputs with those of an undisturbed run.

    python benchmarks/interrupt.py                 200 kills: some minutes on 2 cores
    python benchmarks/interrupt.py --kills 20      a short run

`sautomed segment` works through a folder of small scans with a small random model, and is killed (SIGKILL) after a time
drawn uniformly from the length of an undisturbed run. The next run resumes, and is killed as well. When a run reaches
its end, the folder is compared with the undisturbed one, file by file, and a new round begins in an empty folder.
After every kill, each file in the folder that has its final name must be whole.

Each run is a fork of this process, which has imported everything already, so that a kill costs a fraction of a second
and not the ten seconds of starting Python. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process that forks must have no other threads

STAGES = ("starting", "reading", "segmenting", "writing labels", "drawing", "reporting")
VOLATILE = ("seconds", "memory")  # entries of CASE.json that differ between any two runs
SMALL_MODEL = {
    "trunk": {"kind": "resnet", "stem": 16, "widths": [16, 16, 16], "depths": [1, 1, 1]},
    "dim": 32,
    "slice_attention": {"heads": 2, "mlp_ratio": 1.0},
    "history": {"tokens": 3},
    "box_prompt": {"heads": 2, "feedforward": 32, "layers": 2},
    "decoder": {"heads": 2, "mlp": 32, "widths": [16, 8]},
}


@dataclass(frozen=True)
class Batch:
    """Scans, a model, the log of the runs, and the stage that the running child is in."""

    scans: Path
    model: Path
    stage: mmap.mmap
    log: Path

    def arguments(self, output: Path) -> list[str]:
        return ["segment", "-i", str(self.scans), "-m", str(self.model), "-o", str(output), "--device", "cpu",
                "--resume", "--format", "nii.gz", "--format", "nrrd"]  # fmt: skip


@dataclass
class Tally:
    """Counts of kills, completed runs and rounds, and the faults found."""

    kills: int = 0
    finished: int = 0
    rounds: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def main() -> None:
    options = _options()
    draw, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        batch = make_batch(folder, options.scans)
        began = time.monotonic()
        if run_to_the_end(batch, folder / "whole"):
            sys.exit(f"the undisturbed run failed:\n{batch.log.read_text()}")
        length_s = time.monotonic() - began
        wanted = contents(folder / "whole")
        print(f"undisturbed: {len(wanted)} files of {options.scans} scans in {length_s:.2f} s; seed {options.seed}")
        began = time.monotonic()
        while tally.kills < options.kills:
            play_round(batch, folder / f"round_{tally.rounds}", wanted, lambda: draw.uniform(0, length_s), tally,
                       options.kills)  # fmt: skip
        report(tally, time.monotonic() - began)
    sys.exit(1 if tally.faults else 0)


def play_round(
    batch: Batch, output: Path, wanted: dict[str, str], delay: Callable[[], float], tally: Tally, kills: int
) -> None:
    """Kill and resume until a run reaches its end, then compare everything; after the last kill a run is not killed."""
    code: int | None = None
    while code is None:
        code = run_to_the_end(batch, output) if tally.kills >= kills else run_until(batch, output, delay())
        if code is None:
            tally.kills += 1
            tally.stages[STAGES[batch.stage[0]]] += 1
        else:
            tally.finished += 1
        found = contents(output)
        broken = sorted(name for name, text in found.items() if text != wanted.get(name))
        if broken:
            tally.faults.append(f"round {tally.rounds}, after kill {tally.kills}: {', '.join(broken)} not as wanted")
    if code:
        tally.faults.append(f"round {tally.rounds}: exit code {code}\n{batch.log.read_text()}")
    missing, left = sorted(wanted.keys() - found.keys()), [path.name for path in output.glob(".*")]
    if missing or left:
        tally.faults.append(f"round {tally.rounds}: missing {missing}, left over {left}")
    tally.rounds += 1


def contents(folder: Path) -> dict[str, str]:
    """Return, for each file with its final name, its hash, or of a report the entries that two runs must share."""
    from sautomed.scans.paths import sha256_of

    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix == ".json":
            try:
                report = json.loads(path.read_bytes())
            except ValueError:
                found[path.name] = "no JSON"
                continue
            found[path.name] = json.dumps({key: value for key, value in report.items() if key not in VOLATILE})
        else:
            found[path.name] = sha256_of([path])
    return found


def run_until(batch: Batch, output: Path, delay_s: float) -> int | None:
    """Run and kill after so many seconds; return None, or the exit code if the run ended before."""
    child = start(batch, output)
    end = time.monotonic() + delay_s
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(end - time.monotonic(), 0)))
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGKILL else code


def run_to_the_end(batch: Batch, output: Path) -> int:
    """Run undisturbed and return the exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(start(batch, output), 0)[1])


def start(batch: Batch, output: Path) -> int:
    """Start the command in a fork of this process and return its process id."""
    batch.stage[0] = 0
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        log = os.open(batch.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from sautomed.cli import run

        code = run(batch.arguments(output))
    finally:
        os._exit(code)


def make_batch(folder: Path, scans: int) -> Batch:
    """Write small scans and a small random model, import everything, and let the stages be recorded."""
    import torch

    torch.set_num_threads(1)
    for number in range(scans):
        write_scan(folder / "scans" / f"case_{number}.nii.gz", number)
    save_model(folder / "model")
    batch = Batch(folder / "scans", folder / "model", mmap.mmap(-1, 1), folder / "log.txt")
    record_stages(batch.stage)
    return batch


def write_scan(path: Path, seed: int) -> None:
    import nibabel
    import numpy as np

    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(seed).normal(100, 20, (40, 32, 12))
    image[5:20, 8:20] += 80
    nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), np.diag([2.0, 2.0, 5.0, 1.0])), path)


def save_model(folder: Path) -> None:
    import torch

    from sautomed.config import Settings
    from sautomed.inference.bundle import Bundle, save_bundle
    from sautomed.model.build import build

    torch.manual_seed(0)
    data = {"image_size": 128, "channels": "neighbours", "plane": "axial", "modality": "other"}
    settings = Settings.model_validate({"preset": "small", "model": SMALL_MODEL, "data": data})
    network = build(settings.model, 2, 128)
    for parameter in network.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    save_bundle(folder, Bundle(network, settings, {1: "bright", 5: "dark"}, "MR"))


def record_stages(stage: mmap.mmap) -> None:
    """Wrap the functions of each stage, to count the stages that kills hit; imports them once for all forks."""
    from sautomed.inference.batch import run as run_module
    from sautomed.inference.model import Model
    from sautomed.scans.volume import LabelMap

    def recording(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **named: Any) -> Any:
            stage[0] = number
            return function(*arguments, **named)

        return recorded

    Model.read = recording(1, Model.read)  # type: ignore[method-assign]
    Model.segment = recording(2, Model.segment)  # type: ignore[method-assign]
    LabelMap.save = recording(3, LabelMap.save)  # type: ignore[method-assign]
    run_module.draw_preview = recording(4, run_module.draw_preview)
    run_module.done_report = recording(5, run_module.done_report)


def report(tally: Tally, seconds: float) -> None:
    hit = ", ".join(f"{tally.stages[stage]} {stage}" for stage in STAGES)
    print(f"{tally.kills} kills ({hit}), {tally.finished} runs to the end, {tally.rounds} rounds, {seconds:.0f} s")
    for fault in tally.faults:
        print(f"FAULT {fault}")
    print(
        "every output whole and equal to the undisturbed run's" if not tally.faults else f"{len(tally.faults)} faults"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="default 200")
    parser.add_argument("--scans", type=int, default=6, help="in the folder; default 6")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


if __name__ == "__main__":
    main()
