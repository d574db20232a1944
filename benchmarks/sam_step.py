"""Measure seconds and peak memory of SAM ViT-B: one training step, and a scan of 20 slices.

    python benchmarks/sam_step.py                            sam-vit-b at 512, the preset's batch
    python benchmarks/sam_step.py --batch 1                  one slice run: about 5 GB
    python benchmarks/sam_step.py --batch 1 --image-size 128 a quick check that everything runs

As the commands do, it writes phantoms, trains the preset on them for one step, and segments the middle slices of the
first phantom with the model. Weights are random, in the layout of SAM's published files. The step has the longest
history that the preset draws, so no training step is larger. Nothing is compared: the figures show what the published
method needs of a computer.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import in_fresh_process, machine, peak_mb, print_table, reset_peak, write_random_sam


def write_data(folder: Path) -> Path:
    """Write two phantoms in nnU-Net's raw layout; together they show every class."""
    from sautomed.phantom import write_phantoms

    return write_phantoms(folder, 2, "abdomen-ct", seed=0)


def write_middle(scan: Path, target: Path, slices: int) -> Path:
    """Write the middle slices of a scan, all of them if it has fewer."""
    import nibabel

    image = nibabel.load(scan)
    first = max((image.shape[2] - slices) // 2, 0)
    nibabel.save(image.slicer[:, :, first : first + slices], target)
    return target


def measure_step(data: Path, run: Path, options: argparse.Namespace, weights: Path) -> dict[str, float]:
    """Return the seconds and slices of one step of `train`, and the seconds and peak memory of the whole command."""
    from sautomed.config import load_settings
    from sautomed.training.learner import Learner
    from sautomed.training.plan import TrainingPlan
    from sautomed.training.slice_runs import history_length
    from sautomed.training.train import train

    settings = load_settings(options.preset, _changes(options, weights))
    longest = settings.train.max_history
    seed = next(s for s in range(1000) if history_length(settings.train, s, 0) == longest)
    clock = _time_steps(Learner)
    reset_peak()
    began = time.perf_counter()
    train(TrainingPlan(data, run, settings, fold="all", seed=seed, device=options.device))
    whole_s = time.perf_counter() - began
    return {
        "step_s": clock["end"] - clock["start"],
        "command_s": whole_s,
        "peak_mb": peak_mb(),
        "slice_runs": settings.train.batch,
        "slices": settings.train.batch * (longest + 3),  # the history, the target, and a neighbour at each end
    }


def _changes(options: argparse.Namespace, weights: Path) -> list[str]:
    sizes = {"data.image_size": options.image_size, "train.batch": options.batch}
    return [
        "model.trunk.kind=sam",
        f"model.trunk.weights={weights}",
        "train.steps=1",
        *(f"{name}={value}" for name, value in sizes.items() if value),
        *options.set,
    ]


def _time_steps(learner: Any) -> dict[str, float]:
    """Record in Lightning's hooks when the step starts (its batch is read) and ends (the weights are changed)."""
    clock: dict[str, float] = {}
    ended = learner.on_train_batch_end

    def on_train_batch_start(self: Any, *_: Any) -> None:
        clock["start"] = time.perf_counter()

    def on_train_batch_end(self: Any, *arguments: Any) -> None:
        clock["end"] = time.perf_counter()
        ended(self, *arguments)

    learner.on_train_batch_start, learner.on_train_batch_end = on_train_batch_start, on_train_batch_end
    return clock


def measure_scan(scan: Path, model_folder: Path, target: Path, device: str) -> dict[str, float]:
    """Return seconds and peak memory of segmenting a scan with the trained model, from file to file."""
    import sautomed

    began = time.perf_counter()
    model = sautomed.load(model_folder, device=device)
    loaded_s = time.perf_counter() - began
    reset_peak()
    began = time.perf_counter()
    labels = model.segment(scan)
    labels.save(target)
    seconds = time.perf_counter() - began
    return {
        "load_s": loaded_s,
        "slice_s": seconds / len(labels.array),
        "slices": len(labels.array),
        "peak_mb": peak_mb(),
    }


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = in_fresh_process(write_random_sam, folder / "random_sam_vit_b.pth")
        data = in_fresh_process(write_data, folder / "Dataset900_Phantom")
        step = in_fresh_process(measure_step, data, folder / "run", options, weights)
        whole = data / "imagesTr" / "phantom_000_0000.nii.gz"
        scan = in_fresh_process(write_middle, whole, folder / "scan.nii.gz", options.slices)
        segmenting = in_fresh_process(
            measure_scan, scan, folder / "run" / "fold_all" / "model", folder / "labels.nii.gz", options.device
        )
    size = options.image_size or "the preset's"
    print(f"{options.preset}, image size {size}, {' '.join(options.set) or 'no other change'}\n{machine()}\n")
    rows = [
        [
            f"one training step: {step['slice_runs']} slice runs, {step['slices']} slices",
            _s(step["step_s"]),
            _gb(step["peak_mb"]),
        ],
        ["- the whole command, with reading and saving", _s(step["command_s"]), ""],
        [f"segmenting, each of {segmenting['slices']} slices", _s(segmenting["slice_s"]), _gb(segmenting["peak_mb"])],
        ["- importing and loading, once", _s(segmenting["load_s"]), ""],
    ]
    print_table(["", "seconds", "peak memory, GB"], rows)


def _s(seconds: float) -> str:
    return f"{seconds:.2f}"


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1024:.2f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="sam-vit-b", help="one with a SAM trunk; default sam-vit-b")
    parser.add_argument("--image-size", type=int, help="default the preset's")
    parser.add_argument("--batch", type=int, help="slice runs in the step; default the preset's")
    parser.add_argument("--slices", type=int, default=20, help="of the scan to segment, at most; default 20")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="any other setting")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto; memory is the host's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
