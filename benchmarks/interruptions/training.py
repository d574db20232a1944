"""`sautomed train` of a small network on a few small cases."""

from __future__ import annotations

import csv
import json
import random
import re
import signal
from pathlib import Path

from interruptions.processes import Moment, Stages
from interruptions.small import LABELS, SIZE, SMALL_MODEL, write_case

CASES, STEPS, VALIDATE_EVERY = 5, 20, 10
WRITING, STEP = "writing a checkpoint", "in a step"
OTHERS = ("preparing", "validating", "writing the model", "scoring")
DELAY_S = {WRITING: 0.06, "writing the model": 0.02}  # longest delay of a stop after a stage began
OTHER_DELAY_S = 0.3
VISITS = {STEP: STEPS, WRITING: 2}  # how often a stage may be entered before; a validation writes one checkpoint or two
TERMINATED = 0.25  # share of stops by SIGTERM
MINUTES = re.compile(r"in [\d.]+ minutes")


class Training:
    """A data set of small cases, and settings of a short training.

    Args:
        folder: For both.
    """

    def __init__(self, folder: Path) -> None:
        self.title = f"training for {STEPS} steps with a validation every {VALIDATE_EVERY}"
        self.stages = Stages(("starting", "training", STEP, WRITING, *OTHERS))
        self._dataset, self._config = folder / "Dataset001_Blocks", folder / "small.yaml"
        for number in range(CASES):
            name = f"case_{number}"
            write_case(self._dataset / "imagesTr" / f"{name}_0000.nii.gz", number,
                       self._dataset / "labelsTr" / f"{name}.nii.gz")  # fmt: skip
        described = {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, **{name: value for value, name in LABELS.items()}},
            "numTraining": CASES,
            "file_ending": ".nii.gz",
        }
        (self._dataset / "dataset.json").write_text(json.dumps(described))
        train = {"steps": STEPS, "validate_every": VALIDATE_EVERY, "batch": 1, "warmup_steps": 5, "ema": 0.9,
                 "learning_rate": 1e-3, "max_history": 1}  # fmt: skip
        data = {"image_size": SIZE, "channels": "neighbours"}
        self._config.write_text(json.dumps({"preset": "small", "model": SMALL_MODEL, "data": data, "train": train}))
        self._record_stages()

    def _record_stages(self) -> None:
        from sautomed.training import train, write_model
        from sautomed.training.checkpoints import AtomicCheckpointIO
        from sautomed.training.learner import Learner

        self.stages.record(train, train.prepare_fold, "preparing")
        self.stages.record(train, train.fit, "training")
        self.stages.record(AtomicCheckpointIO, AtomicCheckpointIO.save_checkpoint, WRITING)
        self.stages.record(Learner, Learner.training_step, STEP)
        self.stages.record(Learner, Learner.validation_step, "validating")
        self.stages.record(write_model, write_model.save_bundle, "writing the model")
        self.stages.record(write_model, write_model.score_cases, "scoring")

    def arguments(self, output: Path) -> list[str]:
        """Return the command; it resumes if there is a checkpoint."""
        from sautomed.training.checkpoint_files import newest_whole

        arguments = ["train", "-d", str(self._dataset), "-o", str(output), "--device", "cpu"]
        resumed = newest_whole(output / "fold_0" / "checkpoints") is not None
        return [*arguments, "--resume"] if resumed else [*arguments, "-c", str(self._config)]

    def contents(self, output: Path, *, finished: bool) -> dict[str, str]:
        """Return hashes of the model folder, and whether each checkpoint is whole and can be loaded."""
        fold = output / "fold_0"
        found = {path.name: _checkpoint(path) for path in sorted(fold.glob("checkpoints/[!.]*.ckpt"))}
        model = fold / "model"
        found |= {f"model/{path.name}": _model_file(path) for path in sorted(model.glob("[!.]*"))}
        if (model / "model.safetensors").exists() and not (model / "config.json").exists():
            found["model"] = "weights without settings"
        if finished:
            found["log.csv"] = _log(fold / "log.csv")
        return found

    def moment(self, draw: random.Random, length_s: float) -> Moment:
        """Draw a moment: a third each in the writing of a checkpoint, in or after any step, and in the other stages."""
        kind = signal.SIGTERM if draw.random() < TERMINATED else signal.SIGKILL
        stage = draw.choice((WRITING, STEP, draw.choice(OTHERS)))
        delay_s = draw.uniform(0, DELAY_S.get(stage, OTHER_DELAY_S))
        return Moment(delay_s, stage, draw.randint(1, VISITS.get(stage, 1)), kind)


def _checkpoint(path: Path) -> str:
    from sautomed.errors import DamagedWeights
    from sautomed.training.checkpoint_files import is_whole
    from sautomed.training.checkpoints import AtomicCheckpointIO

    if not is_whole(path):
        return "damaged"
    try:
        AtomicCheckpointIO().load_checkpoint(path)
    except DamagedWeights:
        return "cannot be loaded"
    return "whole"


def _model_file(path: Path) -> str:
    """Return the hash of a file, or of a text without the minutes that the training took."""
    from sautomed.scans.paths import sha256_of

    if path.name == "metrics.json":
        try:
            metrics = json.loads(path.read_bytes())
        except ValueError:
            return "no JSON"
        return json.dumps({key: value for key, value in metrics.items() if key != "minutes"})
    return MINUTES.sub("", path.read_text()) if path.suffix == ".md" else sha256_of([path])


def _log(path: Path) -> str:
    """Return the rows of the log without their times."""
    with path.open(newline="") as file:
        rows = [{**row, "elapsed_s": ""} for row in csv.DictReader(file)]
    return json.dumps(rows)
