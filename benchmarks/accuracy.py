"""Train a preset on one fold for a number of minutes, segment the fold's validation cases, and score them.

    python benchmarks/accuracy.py DATASET OUTPUT [--preset tiny] [--fold 0] [--minutes 30]

Calls the commands `train`, `segment` and `evaluate`; prints their wall-clock times and the score table.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench import machine
from sautomed.datasets import read_dataset


def call(*arguments: object) -> float:
    """Run one sautomed command and return the seconds it took."""
    command = [sys.executable, "-m", "sautomed", *map(str, arguments)]
    print("$ sautomed", *arguments, flush=True)
    began = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - began


def copy_validation_scans(dataset: Path, run: Path, fold: int, target: Path) -> list[str]:
    """Copy the fold's validation scans into a new folder and return their case ids."""
    wanted = json.loads((run / "splits_final.json").read_text())[fold]["val"]
    target.mkdir(parents=True)
    for case in read_dataset(dataset).cases:
        if case.id in wanted:
            shutil.copy(case.image, target)
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    run, scans, masks, scores = (options.output / name for name in ("run", "scans", "masks", "scores"))
    print(machine())
    trained_s = call("train", "-d", options.dataset, "-o", run, "-c", options.preset, "-f", options.fold,
                     "--max-minutes", options.minutes)  # fmt: skip
    wanted = copy_validation_scans(options.dataset, run, options.fold, scans)
    segmented_s = call("segment", "-i", scans, "-m", run, "-o", masks)
    call("evaluate", "-p", masks, "-r", options.dataset / "labelsTr", "-o", scores)
    each_s = segmented_s / len(wanted)
    print(f"{len(wanted)} cases: trained in {trained_s / 60:.1f} min, segmented in {each_s:.1f} s a case")


if __name__ == "__main__":
    main()
