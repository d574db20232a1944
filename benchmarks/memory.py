"""Compare the memory predicted from a scan's header with the measured peak.

    python benchmarks/memory.py                        tiny, six scans: a few minutes on 2 cores
    python benchmarks/memory.py --preset sam-vit-b     the same with SAM ViT-B: half an hour
    python benchmarks/memory.py --engine openvino --precision bf16
    python benchmarks/memory.py --shapes 512x512x400 --types int16 --chunks 8
    python benchmarks/memory.py --session --shapes 512x512x500 --types int16

Each row is a process of its own, which reads a scan of soft blobs, segments it and writes labels, picture and report.
With `--session` it opens the scan as a session instead, gives a box on every twentieth slice, lets each travel, and
saves. A prediction should be between 0.9 and 1.5 times the peak.
Weights are random: memory does not depend on their values.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import in_fresh_process, is_on_sam, machine, print_table, write_random_sam

GOAL = (0.9, 1.5)  # ours: predicted over peak
ORGANS = 8


@dataclass(frozen=True)
class Row:
    """One scan, and the chunk of slices that goes through the trunk at once."""

    shape: tuple[int, int, int]
    dtype: str
    chunk: int
    ending: str = ".nii.gz"


def save_random_model(folder: Path, preset: str, image_size: int | None, modality: str) -> None:
    """Write a model folder with random weights."""
    import torch

    from sautomed.baselines import build_segmenter
    from sautomed.config import load_settings
    from sautomed.inference.bundle import Bundle, save_bundle

    torch.manual_seed(0)
    settings = load_settings(preset)
    size = image_size or (256 if settings.data.image_size == "auto" else settings.data.image_size)
    changes = [f"data.image_size={size}", "data.plane=axial", f"data.modality={modality}"]
    if is_on_sam(settings):
        weights = write_random_sam(folder.parent / "random_sam_vit_b.pth")
        changes += ["model.trunk.kind=sam", f"model.trunk.weights={weights}"]
    settings = load_settings(preset, changes)
    network = build_segmenter(settings.model, ORGANS, size)
    save_bundle(folder, Bundle(network, settings, {k: f"organ {k}" for k in range(1, ORGANS + 1)}, "MR"))


def write_scan(path: Path, row: Row) -> None:
    """Write a scan of soft blobs with a little noise, whose labels are compact regions as those of organs are."""
    import nibabel
    import numpy as np
    from scipy.ndimage import zoom

    rng = np.random.default_rng(0)
    array = np.empty(row.shape, row.dtype, order="F")
    blobs = zoom(rng.uniform(20, 200, (8, 8)), [length / 8 for length in row.shape[:2]], order=1)
    for k in range(row.shape[2]):
        array[:, :, k] = np.roll(blobs, k) + rng.normal(0, 3, row.shape[:2])
    nibabel.save(nibabel.Nifti1Image(array, np.diag([0.8, 0.8, 3.0, 1.0])), path)


def measure(model_folder: Path, scan: Path, chunk: int, engine: str, precision: str) -> dict[str, Any]:
    """Segment a scan and return the entry "memory" of its CASE.json."""
    import json

    from sautomed.inference.batch import SegmentOptions, plan_jobs, run_plan
    from sautomed.inference.model import load, with_chunk

    output = scan.parent / "out"
    model = with_chunk(load(model_folder, "cpu", None, precision, engine), chunk)
    outcome = run_plan(model, plan_jobs(scan, output, SegmentOptions(report=True, overwrite=True)))
    if outcome.failures:
        raise outcome.failures[0].error
    memory: dict[str, Any] = json.loads(next(output.glob("*.json")).read_text())["memory"]
    return memory


def measure_session(model_folder: Path, scan: Path, chunk: int, engine: str, precision: str) -> dict[str, Any]:
    """Correct a scan in a session and return the predicted and the measured bytes."""
    import sautomed
    from sautomed.inference import memory
    from sautomed.inference.model import load, with_chunk
    from sautomed.scans import read_geometry

    model = with_chunk(load(model_folder, "cpu", None, precision, engine), chunk)
    cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))
    need = memory.predict(read_geometry(scan), model, cost, chunk, session=True)
    memory.reset_peak()
    with sautomed.edit(model, scan, scan.parent / "edits") as session:
        rows, columns = session.volume.array.shape[1:]
        for t in range(0, session.depth, 20):
            session.give_box(t, "organ 1", (columns / 4, rows / 4, columns / 2, rows / 2))
            for _ in session.propagate(t):
                pass
        session.save(scan.parent / "out.nii.gz")
    return {"predicted_bytes": need.peak, "peak_bytes": memory.peak_bytes()}


def main() -> None:
    options = _options()
    computing = f"engine {options.engine}, precision {options.precision}"
    print(f"{options.preset}, {computing}, {ORGANS} organs, modality {options.modality}\n{machine()}\n")
    lines, ratios = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # of graphs, for the processes below
        in_fresh_process(save_random_model, folder / "model", options.preset, options.image_size, options.modality)
        for row in _rows(options):
            scan = folder / f"scan{row.ending}"
            in_fresh_process(write_scan, scan, row)
            doing = measure_session if options.session else measure
            measured = in_fresh_process(doing, folder / "model", scan, row.chunk, options.engine, options.precision)
            predicted, peak = measured["predicted_bytes"] / 1e6, measured["peak_bytes"] / 1e6
            ratios.append(predicted / peak)
            shape = " x ".join(map(str, row.shape))
            lines.append(
                [f"{shape} {row.dtype}", str(row.chunk), f"{predicted:.0f}", f"{peak:.0f}", f"{ratios[-1]:.2f}"]
            )
            scan.unlink()
    print_table(["scan", "chunk", "predicted MB", "peak MB", "ratio"], lines)
    met = GOAL[0] <= min(ratios) and max(ratios) <= GOAL[1]
    verdict = f"goal: {GOAL[0]} to {GOAL[1]}; {'met' if met else 'missed'}"
    print(f"\npredicted / peak: {min(ratios):.2f} to {max(ratios):.2f} ({verdict})")


def _rows(options: argparse.Namespace) -> list[Row]:
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes]
    return [Row(s, t, c, options.ending) for s in shapes for t in options.types for c in options.chunks]  # type: ignore[arg-type]  # three numbers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="default tiny")
    parser.add_argument("--shapes", nargs="+", default=["256x256x40", "512x512x60", "512x512x240"])
    parser.add_argument("--types", nargs="+", default=["int16", "float32"], help="of the stored voxels")
    parser.add_argument("--chunks", type=int, nargs="+", default=[8], help="slices through the trunk at once")
    parser.add_argument("--image-size", type=int, help="of the network; default the preset's (auto: 256)")
    parser.add_argument("--modality", choices=("ct", "other"), default="other", help="how intensities are scaled")
    parser.add_argument("--engine", choices=("torch", "openvino"), default="torch")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--session", action="store_true", help="correct the scan in a session")
    parser.add_argument("--ending", default=".nii.gz", help="of the scan's file: .nii.gz or .nii")
    return parser.parse_args()


if __name__ == "__main__":
    main()
