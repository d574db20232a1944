"""Measure seconds per slice, the share of the trunk in them, and whether memory grows with the number of slices.

    python benchmarks/segment.py                       sam-vit-b at 512, 50 and 500 slices: about an hour on 2 cores
    python benchmarks/segment.py --preset tiny         a few minutes
    python benchmarks/segment.py --engine openvino --precision bf16
    python benchmarks/segment.py --image-size 128 --slices 10 20 --timed-slices 6

The whole is compared with the trunk alone on the same slices in the same chunks, measured in turn in one process.
Weights are random, in the layout of SAM's published files: speed and memory do not depend on their values.

Memory: each length is segmented in a process of its own, whose peak of resident memory counts from when the model is
built. The volume repeats one random slice (a view of stride 0), and label slices are dropped at once, so input and
output take no memory, and the peak is that of model, libraries and segmenting.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench import in_fresh_process, is_on_sam, machine, peak_mb, print_table, reset_peak, write_random_sam

GOAL_TIME, GOAL_MEMORY = 1.2, 1.1  # ours: total over trunk alone; peak of the longest volume over the shortest's


@dataclass(frozen=True)
class Workload:
    """A model with random weights, and the volume that it segments."""

    preset: str
    image_size: int
    native: int
    classes: int
    modality: str
    weights: Path | None
    engine: str = "torch"
    precision: Literal["32", "bf16"] = "32"

    def settings(self) -> Any:
        from sautomed.config import load_settings

        changes = [f"data.image_size={self.image_size}", "data.plane=axial", f"data.modality={self.modality}"]
        if self.weights:
            changes += ["model.trunk.kind=sam", f"model.trunk.weights={self.weights}"]
        return load_settings(self.preset, changes)

    def network(self) -> Any:
        from sautomed.inference.engine import computed_network
        from sautomed.model.build import build
        from sautomed.model.fold_norms import fold_norms

        network = build(self.settings().model, self.classes, self.image_size).eval()
        fold_norms(network)  # as a model is loaded
        return computed_network(network, self.engine, self.precision, self.image_size, None)[0]

    def volume(self, slices: int) -> Any:
        """Return a volume that repeats one slice of noise in HU, without copies."""
        import numpy as np

        from sautomed.scans.grid import NativeGrid
        from sautomed.scans.volume import Volume

        one = np.random.default_rng(0).normal(50, 100, (1, self.native, self.native)).astype("float32")
        array = np.broadcast_to(one, (slices, self.native, self.native))
        affine = np.diag([3.0, 0.8, 0.8, 1.0])
        return Volume(array, affine, NativeGrid(array.shape, affine), "axial")

    def labels(self) -> dict[int, str]:
        return {k: f"organ {k}" for k in range(1, self.classes + 1)}


@dataclass(frozen=True)
class Times:
    """Seconds per slice, medians over the repeats."""

    trunk_alone: float
    total: float
    trunk: float
    step: float
    ratio: float


def measure_times(workload: Workload, slices: int, repeats: int) -> Times:
    """Time the trunk alone and the whole in turn."""
    network = workload.network()
    settings, volume, labels = workload.settings(), workload.volume(slices), workload.labels()
    clock = time_verbs(network)
    rows = []
    for repeat in range(repeats + 1):
        trunk_alone = run_trunk_alone(network, settings, slices)
        clock.clear()
        began = time.perf_counter()
        segment_volume(network, volume, settings, labels)
        total = time.perf_counter() - began
        if repeat:  # the first round is a warm-up
            rows.append((trunk_alone, total, clock["encode"], clock["share"] + clock["step"], total / trunk_alone))
    trunk_alone, total, trunk, step, ratio = (median(column) for column in zip(*rows, strict=True))
    return Times(trunk_alone / slices, total / slices, trunk / slices, step / slices, ratio)


def run_trunk_alone(network: Any, settings: Any, slices: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of the trunk on so many slices, by the clock `now`."""
    import torch

    size, chunk = settings.data.image_size, settings.segment.chunk
    with torch.inference_mode():
        images = torch.rand(chunk, 3, size, size)
        began = now()
        for start in range(0, slices, chunk):
            network.encode(images[: min(chunk, slices - start)])
        return now() - began


def segment_volume(network: Any, volume: Any, settings: Any, labels: dict[int, str]) -> None:
    from sautomed.inference.segmenting import segment_slices

    for _ in segment_slices(network, volume, settings, labels):
        pass


def time_verbs(network: Any, now: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Wrap the three verbs of this network so that each adds its seconds to the returned dict.

    Args:
        now: Clock, in seconds.
    """
    clock: dict[str, float] = {}

    def timed(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            began = now()
            out = verb(*arguments)
            clock[name] = clock.get(name, 0.0) + now() - began
            return out

        return run

    for name in ("encode", "share", "step"):
        setattr(network, name, timed(name, getattr(network, name)))
    return clock


def measure_memory(workload: Workload, slices: int) -> tuple[float, float]:
    """Return MB held once the model is built, and the peak in MB while a volume of so many slices is segmented."""
    network = workload.network()
    reset_peak()
    built = peak_mb()
    segment_volume(network, workload.volume(slices), workload.settings(), workload.labels())
    return built, peak_mb()


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        workload = _workload(options, Path(folder))
        grid = f"slices of {workload.native} x {workload.native}, modality {workload.modality}"
        print(f"{options.preset} at {workload.image_size} px, {workload.classes} organs, {grid}\n{machine()}\n")
        if options.timed_slices:
            _print_times(in_fresh_process(measure_times, workload, options.timed_slices, options.repeats), options)
        _print_memory({n: in_fresh_process(measure_memory, workload, n) for n in options.slices})


def _print_times(times: Times, options: argparse.Namespace) -> None:
    rows = [
        ["trunk alone", f"{times.trunk_alone:.3f}"],
        ["whole", f"{times.total:.3f}"],
        ["- its trunk (encode)", f"{times.trunk:.3f}"],
        ["- its step (share + step)", f"{times.step:.3f}"],
        ["- its rest (resize, to native)", f"{times.total - times.trunk - times.step:.3f}"],
    ]
    print_table([f"time, {options.timed_slices} slices, median of {options.repeats}", "s per slice"], rows)
    print(f"\nwhole / trunk alone: {times.ratio:.2f} {_verdict(times.ratio, GOAL_TIME)}\n")


def _print_memory(peaks: dict[int, tuple[float, float]]) -> None:
    rows = [[f"{n} slices", f"{built:.0f}", f"{peak:.0f}"] for n, (built, peak) in peaks.items()]
    print_table(["memory, MB", "model built", "peak of segmenting"], rows)
    if len(peaks) > 1:
        ratio = peaks[max(peaks)][1] / peaks[min(peaks)][1]
        print(f"\n{max(peaks)} slices / {min(peaks)} slices: {ratio:.2f} {_verdict(ratio, GOAL_MEMORY)}")
    if any(peak <= built for built, peak in peaks.values()):
        print("Building the model took more memory than segmenting, so the peak of segmenting is not known.")


def _verdict(ratio: float, goal: float) -> str:
    return f"(goal: at most {goal:.2f}; {'met' if ratio <= goal else 'missed'})"


def _workload(options: argparse.Namespace, folder: Path) -> Workload:
    from sautomed.config import load_settings

    settings = load_settings(options.preset)
    on_sam = is_on_sam(settings)
    weights = None
    if on_sam:
        weights = folder / "random_sam_vit_b.pth"
        in_fresh_process(write_random_sam, weights)
    preset_size = settings.data.image_size
    size = options.image_size or (max(settings.data.auto_size) if preset_size == "auto" else preset_size)
    return Workload(
        options.preset,
        size,
        options.native,
        options.classes,
        options.modality,
        weights,
        options.engine,
        options.precision,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="sam-vit-b", help="default sam-vit-b")
    parser.add_argument("--slices", type=int, nargs="+", default=[50, 500], help="lengths whose memory is compared")
    parser.add_argument("--timed-slices", type=int, default=16, help="slices of the volume that is timed; 0: no timing")
    parser.add_argument("--repeats", type=int, default=3, help="timings, after a warm-up")
    parser.add_argument("--image-size", type=int, help="of the network; default the preset's (auto: its largest)")
    parser.add_argument("--native", type=int, default=512, help="rows and columns of the scan's slices")
    parser.add_argument("--classes", type=int, default=13, help="organs")
    parser.add_argument("--modality", choices=("ct", "other"), default="ct", help="how intensities are scaled")
    parser.add_argument("--engine", choices=("torch", "openvino"), default="torch")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
