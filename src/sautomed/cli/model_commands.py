"""The commands that make a model and score it: demo, phantom, train, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from sautomed.cli import tables
from sautomed.cli.app import Device, IgnoreLabels, Layout, MapLabels, Seed, err, out, print_line, print_note
from sautomed.cli.progress import shown_progress
from sautomed.cli.stopping import STOPPED, stop_explained
from sautomed.errors import SomeCasesFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sautomed.evaluation.scores import Summary


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for phantoms, run, masks and report.html.")],
    seed: Seed = 0,
) -> None:
    """Make phantoms, train on some, segment the others and write a report; a few minutes on two cores."""
    from sautomed.cli.demo import run_demo

    with shown_progress() as stages:
        page = run_demo(output, seed, stages)
    print_line(f"Report: {page}")
    print_note("To correct a result on a page, with a model that is trained already: sautomed studio --demo")


def phantom(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new data set.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Cases to make.")] = 12,
    kind: Annotated[
        str, typer.Option(help="abdomen-ct, abdomen-ct-unenhanced, abdomen-mr or thorax-ct.")
    ] = "abdomen-ct",
    seed: Seed = 0,
) -> None:
    """Make volumes laid out like anatomy, with exact labels, in nnU-Net's raw layout."""
    from sautomed.phantom import KINDS, write_phantoms

    if kind not in KINDS:
        raise UsageError(f"there is no phantom kind '{kind}'.", where="--kind", cure=f"Use one of {', '.join(KINDS)}.")
    with shown_progress() as stages:
        write_phantoms(output, count, kind, seed, on_case=stages.counter("Making phantoms"))
    print_line(f"{count} phantoms: {output}")


def train(
    dataset: Annotated[Path, typer.Option("-d", "--dataset", help="Folder of a data set, in any supported layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; each fold writes fold_K in it.")],
    config: Annotated[
        str | None, typer.Option("-c", "--config", help="Preset or YAML file.", show_default="sam-vit-b")
    ] = None,
    fold: Annotated[
        str, typer.Option("-f", "--fold", help="Fold to hold out, 0 to 4, or all to train on every case.")
    ] = "0",
    weights: Annotated[str | None, typer.Option(help="SAM weights: hub id, folder or file.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, as in train.batch=4.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.1, help="Fit the schedule to this many minutes.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint, with its settings.")
    ] = False,
    device: Device = "auto",
    devices: Annotated[
        str, typer.Option(help="Processes that train together on each machine: a number, or auto for one on each GPU.")
    ] = "1",
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together, under srun or torchrun.")] = 1,
    seed: Seed = 0,
    layout: Layout = "auto",
    map_labels: MapLabels = None,
    ignore: IgnoreLabels = None,
    regrid: Annotated[
        bool, typer.Option("--regrid-labels", help="Resample label maps to their scans' grids, nearest neighbour.")
    ] = False,
) -> None:
    """Train on one fold of a data set; the run holds a model folder that `segment -m` takes."""
    from sautomed.training.checkpoint_files import checkpoint_folder, newest_whole

    held_out, each = _parse_fold(fold), _parse_devices(devices)

    def explain_stop() -> str:
        if newest_whole(checkpoint_folder(output, held_out)):
            return f"{STOPPED} The training goes on with --resume."
        return "Stopped before the first checkpoint, so there is nothing to resume: train again without --resume."

    with stop_explained(explain_stop):  # imports, too, as they take seconds
        from sautomed.config import load_settings
        from sautomed.datasets.parse_rules import rules_for
        from sautomed.training.plan import TrainingPlan
        from sautomed.training.prepared_fold import run_settings
        from sautomed.training.ranks import choose_ranks
        from sautomed.training.train import train as run_training

        ranks = choose_ranks(each, nodes, device)
        rules = rules_for(dataset, layout, map_labels, ignore, regrid=regrid)
        overrides = list(settings or [])
        if weights:
            overrides += ["model.trunk.kind=sam", f"model.trunk.weights={json.dumps(weights)}"]
        keep = resume and config is None and not overrides
        chosen = run_settings(output, held_out) if keep else load_settings(config or "sam-vit-b", overrides)
        plan = TrainingPlan(
            dataset, output, chosen, held_out, seed, max_minutes, resume, device, layout, rules, ranks=ranks
        )
        with shown_progress() as stages:
            model = run_training(plan, stages.training_callbacks())
    if ranks.is_first:
        print_line(f"Model: {model}")


def evaluate(
    predictions: Annotated[Path, typer.Option("-p", "--predictions", help="Label maps to score: a folder or a file.")],
    references: Annotated[
        Path, typer.Option("-r", "--references", help="Label maps to compare with: a folder, a file or a data set.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for scores.csv and summary.json.")],
    layout: Layout = "auto",
    convention: Annotated[
        str, typer.Option(help="How scores are counted: ours, transunet (its published numbers) or monai.")
    ] = "ours",
    map_labels: MapLabels = None,
    ignore: IgnoreLabels = None,
) -> None:
    """Score label maps against references, label by label name: DSC, HD95, HD and NSD, on the native grid."""
    from sautomed.datasets.parse_rules import parse_rules
    from sautomed.datasets.rules import LabelRules
    from sautomed.evaluation.evaluate import evaluate as score

    def rules(labels: Mapping[int, str], in_files: Iterable[str]) -> LabelRules:
        return parse_rules(map_labels or (), ignore or (), False, lambda: labels, lambda: in_files)

    failed: SomeCasesFailed | None = None
    with shown_progress() as stages:
        try:
            counter = stages.counter("Scoring")
            summary = score(
                predictions, references, output, layout=layout, rules=rules, convention=convention, on_case=counter
            )
        except SomeCasesFailed as some:  # the other cases are scored nevertheless
            summary, failed = cast("Summary", some.result), some
    out.print(tables.score_table(summary))
    if failed:
        raise failed
    if summary.unpredicted:
        err.print(f"Not scored, as there is no prediction: {len(summary.unpredicted)} references (see summary.json).")


def _parse_devices(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"'{text}' is not a number of devices.", where="--devices", cure="Give a number from 1, or auto.")


def _parse_fold(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise UsageError(f"'{text}' is not a fold.", where="-f", cure="Give a number from 0, or all.")
