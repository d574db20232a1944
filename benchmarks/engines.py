"""Compare engines, precisions and what others run, in one run: time per slice and ratios.

    python benchmarks/engines.py                     SAM ViT-B at 448 and 512 px, tiny, and both peers: half an hour
    python benchmarks/engines.py --short             the same with fewer slices, and one round: about two minutes
    python benchmarks/engines.py --clock processor   seconds of the processor, for a machine that is busy otherwise

All take turns, round by round, so that a machine that is busy for a while is so for all; ratios are of one round, and
medians over the rounds. Weights are random, SAM's in the layout of its published files: time does not depend on them.
Volumes are of the size of a CHAOS scan. The peers are what others run:

- eager transformers: its own SAM ViT-B with LoRA at 512 px, float32, slice by slice with a box, to native masks. That
  is what scripts of the SAMed kind do; they know nothing of neighbouring slices.
- DynUNet: MONAI's own sliding windows of 32 whole slices with half an overlap, over nnU-Net's topology in MONAI.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

from bench import in_fresh_process, machine, print_table, write_random_sam
from segment import Workload, run_trunk_alone, segment_volume, time_verbs

GOAL_SAM, GOAL_TINY = 0.30, 0.35  # whole of ours over the peer's
GOAL_WALK_SAM, GOAL_WALK_TINY = 1.2, 2.5  # whole over trunk alone
EAGER, DYNUNET = "eager transformers SAM, 512 px", "MONAI DynUNet, 256 px"
NATIVE, DEPTH, CLASSES = 256, 36, 4
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Times:
    """Seconds per slice; a peer has no trunk of its own to be timed."""

    whole: float
    trunk_alone: float | None = None
    trunk: float | None = None
    step: float | None = None


class Contender(Protocol):
    """Something that segments a volume; `peer` names what it is compared with."""

    @property
    def name(self) -> str: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def goals(self) -> tuple[float, float] | None:
        """Of the whole over the peer's, and over the trunk alone."""

    def measure(self) -> Times: ...


class Ours:
    """A network of ours, by an engine."""

    def __init__(
        self,
        name: str,
        network: Any,
        workload: Workload,
        slices: int,
        now: Callable[[], float],
        peer: str,
        goals: tuple[float, float],
    ):
        self.name, self.peer, self.goals, self.network = name, peer, goals, network
        self.now, self.settings, self.labels = now, workload.settings(), workload.labels()
        self.volume, self.slices = workload.volume(slices), slices
        self.clock = time_verbs(network, now)

    def measure(self) -> Times:
        alone = run_trunk_alone(self.network, self.settings, self.slices, self.now)
        self.clock.clear()
        began = self.now()
        segment_volume(self.network, self.volume, self.settings, self.labels)
        whole = self.now() - began
        seconds = (whole, alone, self.clock["encode"], self.clock["share"] + self.clock["step"])
        return Times(*(s / self.slices for s in seconds))


class EagerSam:
    """SAM ViT-B of transformers with LoRA at 512 px, slice by slice, with a box and native masks."""

    name, peer, goals = EAGER, None, None

    def __init__(self, slices: int, now: Callable[[], float]):
        import torch
        from peft import LoraConfig, inject_adapter_in_model
        from transformers import SamConfig, SamModel

        torch.manual_seed(0)
        config = SamConfig(
            vision_config={"image_size": 512}, prompt_encoder_config={"image_size": 512, "image_embedding_size": 32}
        )
        config._attn_implementation = "eager"
        model = SamModel(config).eval()
        lora = LoraConfig(r=4, target_modules=r"vision_encoder\.layers\.\d+\.attn\.qkv")
        self.model, self.slices, self.now = inject_adapter_in_model(lora, model), slices, now

    def measure(self) -> Times:
        import torch
        import torch.nn.functional as nnf

        slices = torch.rand(self.slices, 1, NATIVE, NATIVE)
        box = torch.tensor([[[0.0, 0.0, 512.0, 512.0]]])
        with torch.inference_mode():
            began = self.now()
            for image in slices:
                pixels = nnf.interpolate(image[None], (512, 512), mode="bilinear").expand(-1, 3, -1, -1)
                masks = self.model(pixel_values=pixels, input_boxes=box).pred_masks[:, 0]
                nnf.interpolate(masks, (NATIVE, NATIVE), mode="bilinear").argmax(1)
            return Times((self.now() - began) / self.slices)


class DynUNetWindows:
    """MONAI's sliding windows over DynUNet, from native slices to native labels."""

    name, peer, goals = DYNUNET, None, None

    def __init__(self, slices: int, now: Callable[[], float]):
        from sautomed.baselines import build_segmenter
        from sautomed.config import load_settings
        from sautomed.config.baselines import DynUNetSettings

        settings = load_settings("dynunet").model
        assert isinstance(settings, DynUNetSettings)
        self.window = settings.slices
        self.net = build_segmenter(settings, CLASSES, NATIVE).eval().net
        self.slices, self.now = slices, now

    def measure(self) -> Times:
        import torch
        from monai.inferers import sliding_window_inference

        volume = torch.rand(1, 1, self.slices, NATIVE, NATIVE)
        with torch.inference_mode():
            began = self.now()
            logits = sliding_window_inference(
                volume, (self.window, NATIVE, NATIVE), 1, self.net, overlap=0.5, mode="gaussian"
            )
            logits.argmax(1)
            return Times((self.now() - began) / self.slices)


def contenders(options: argparse.Namespace, weights: Path) -> list[Contender]:
    """Return all that take turns."""
    now = CLOCKS[options.clock]
    found: list[Contender] = []
    for size in options.sam_sizes:
        workload = Workload("sam-vit-b", size, NATIVE, CLASSES, "other", weights)
        found += _ours(f"SAM ViT-B, {size} px", workload, options.sam_slices, now, EAGER, (GOAL_SAM, GOAL_WALK_SAM))
    if options.sam_sizes:
        found.append(EagerSam(options.sam_slices, now))
    if options.tiny_size:
        workload = Workload("tiny", options.tiny_size, NATIVE, CLASSES, "other", None)
        name = f"tiny, {options.tiny_size} px"
        found += _ours(name, workload, options.depth, now, DYNUNET, (GOAL_TINY, GOAL_WALK_TINY))
        found.append(DynUNetWindows(options.depth, now))
    return found


def _ours(
    name: str,
    workload: Workload,
    slices: int,
    now: Callable[[], float],
    peer: str,
    goals: tuple[float, float],
) -> list[Contender]:
    """Return a network of ours by every engine and precision of this machine."""
    import torch

    from sautomed.inference.engine import Computing, computed_network, computes_bf16
    from sautomed.inference.engine.openvino import is_installed

    engines: tuple[Literal["torch", "openvino"], ...] = ("torch", "openvino") if is_installed() else ("torch",)
    precisions: tuple[Literal["32", "bf16"], ...] = ("32", "bf16") if computes_bf16(torch.device("cpu")) else ("32",)
    torch.manual_seed(0)
    network, found = workload.network(), list[Contender]()
    for computing in (Computing(engine, precision) for engine in engines for precision in precisions):
        by, _ = computed_network(network, computing.engine, computing.precision, workload.image_size, None)
        found.append(Ours(f"{name}, {computing}", _apart(by), workload, slices, now, peer, goals))
    return found


def _apart(network: Any) -> Any:
    """Return the network behind an object of its own, so that timing its verbs leaves the others that share it."""
    from sautomed.inference.engine.wrapped import WrappedWalker

    return WrappedWalker(network)


def measure_all(options: argparse.Namespace, weights: Path) -> list[tuple[str, str | None, Any, list[Times]]]:
    """Return name, peer, goals and times, one of each round after a warm-up, of every contender."""
    ready = contenders(options, weights)
    times: list[list[Times]] = [[] for _ in ready]
    for contender in ready:
        contender.measure()
    for _ in range(options.rounds):
        for contender, found in zip(ready, times, strict=True):
            found.append(contender.measure())
    return [(c.name, c.peer, c.goals, found) for c, found in zip(ready, times, strict=True)]


def main() -> None:
    options = _options()
    print(
        f"{NATIVE} x {NATIVE} slices, {CLASSES} organs, {options.clock} clock, {options.rounds} rounds\n{machine()}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = in_fresh_process(write_random_sam, Path(folder) / "random_sam_vit_b.pth")
        found = in_fresh_process(measure_all, options, weights)
    wholes = {name: [times.whole for times in rounds] for name, _, _, rounds in found}
    rows: list[list[str]] = []
    goals: dict[Any, list[Any]] = {}
    for name, peer, limits, rounds in found:
        of_peer = None if peer is None else _ratio(wholes[name], wholes[peer])
        of_trunk = None if peer is None else _ratio(wholes[name], [times.trunk_alone for times in rounds])
        parts = (_median(rounds, part) for part in ("trunk_alone", "trunk", "step", "whole"))
        rows.append([name, *(f"{1000 * s:.1f}" if s else "" for s in parts), _shown(of_trunk), _shown(of_peer)])
        if peer is not None:
            goals.setdefault((name.rsplit(",", 1)[0], peer, limits), []).append((of_peer, of_trunk, name))
    head = ["ms per slice, medians", "trunk alone", "trunk", "share + step", "whole", "whole / trunk", "whole / peer"]
    print_table(head, rows)
    print()
    for (ours, peer, (goal_peer, goal_trunk)), results in goals.items():
        of_peer, of_trunk, name = min(results)
        print(f"{ours}, best: {name.rsplit(', ', 1)[1]}")
        print(f"- of {peer}: {of_peer:.2f} {_verdict(of_peer, goal_peer)}")
        print(f"- of its trunk alone: {of_trunk:.2f} {_verdict(of_trunk, goal_trunk)}")


def _median(rounds: list[Times], part: str) -> float | None:
    found = [getattr(times, part) for times in rounds]
    return None if found[0] is None else median(found)


def _ratio(ours: list[float], others: list[float]) -> float:
    return median(a / b for a, b in zip(ours, others, strict=True))


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _verdict(ratio: float, goal: float) -> str:
    return f"(goal: at most {goal:g}; {'met' if ratio <= goal else 'missed'})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one round; SAM at 448 px alone, and 2 slices of it")
    parser.add_argument("--rounds", type=int, default=3, help="after a warm-up")
    parser.add_argument("--sam-sizes", type=int, nargs="*", default=[448, 512], help="of SAM's images; none: no SAM")
    parser.add_argument("--sam-slices", type=int, default=8, help="of the volume that SAM segments")
    parser.add_argument("--tiny-size", type=int, default=160, help="of tiny's images; 0: neither tiny nor DynUNet")
    parser.add_argument("--depth", type=int, default=DEPTH, help="slices of the volume of tiny and DynUNet")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="seconds that pass, or the processor's")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.sam_sizes, options.sam_slices = 1, options.sam_sizes[:1], 2
    return options


if __name__ == "__main__":
    main()
