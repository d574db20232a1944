"""Train a preset on one or more folds for a number of minutes, segment each fold's validation cases, and score them.

    python benchmarks/accuracy.py DATASET OUTPUT [--preset tiny] [--folds 0 1 2 3 4] [--minutes 30]

Calls the commands `train`, `segment` and `evaluate`; prints their wall-clock times and the score table. No case is
scored by a network that was trained on it. A fold whose training has ended in OUTPUT/run is not trained again.
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


def copy_validation_scans(dataset: Path, run: Path, fold: int, target: Path) -> int:
    """Copy the fold's validation scans into a new folder and return how many they are."""
    wanted = json.loads((run / "splits_final.json").read_text())[fold]["val"]
    target.mkdir(parents=True, exist_ok=True)
    for case in read_dataset(dataset).cases:
        if case.id in wanted:
            shutil.copy(case.image, target)
    return len(wanted)


def run_fold(dataset: Path, output: Path, preset: str, fold: int, minutes: float) -> None:
    """Train a fold and segment its validation cases into OUTPUT/masks."""
    run, scans, masks = output / "run", output / f"scans_{fold}", output / f"masks_{fold}"
    model = run / f"fold_{fold}" / "model"
    trained_s = 0.0
    if not (model / "metrics.json").is_file():
        trained_s = call("train", "-d", dataset, "-o", run, "-c", preset, "-f", fold, "--max-minutes", minutes)
    count = copy_validation_scans(dataset, run, fold, scans)
    segmented_s = call("segment", "-i", scans, "-m", model, "-o", masks, "--no-preview", "--resume")
    (output / "masks").mkdir(exist_ok=True)
    for mask in masks.glob("*.nii.gz"):
        shutil.copy(mask, output / "masks")
    print(
        f"fold {fold}: trained in {trained_s / 60:.1f} min; {count} cases segmented, {segmented_s / count:.1f} s each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of each fold's training")
    options = parser.parse_args()
    print(machine())
    for fold in options.folds:
        run_fold(options.dataset, options.output, options.preset, fold, options.minutes)
    masks, scores = options.output / "masks", options.output / "scores"
    call("evaluate", "-p", masks, "-r", options.dataset / "labelsTr", "-o", scores)


if __name__ == "__main__":
    main()
