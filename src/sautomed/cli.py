"""The command line: parse, call one verb, show its progress, turn faults into exit codes.

Verbs are imported when they are called, so `--help` needs neither torch nor matplotlib.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.console import Console
from rich.markup import escape

from sautomed import progress
from sautomed.errors import (
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_MEMORY,
    SautomedError,
    SomeCasesFailed,
    UsageError,
)

if TYPE_CHECKING:
    from sautomed.scores import Summary

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Automatic multi-organ segmentation of 3D CT and MR volumes (3D-SAutoMed).",
)  # fmt: skip
out, err = Console(), Console(stderr=True)

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for phantoms, run, masks and report.html.")],
    seed: Seed = 0,
) -> None:
    """Make phantoms, train on some, segment the others and write a report; a few minutes on two cores."""
    from sautomed.demo import run_demo

    with progress.stages(err) as stages:
        page = run_demo(output, seed, stages)
    out.print(f"Report: {escape(str(page))}", soft_wrap=True)


@app.command()
def phantom(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new data set.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Cases to make.")] = 12,
    kind: Annotated[str, typer.Option(help="abdomen-ct, abdomen-mr or thorax-ct.")] = "abdomen-ct",
    seed: Seed = 0,
) -> None:
    """Make volumes laid out like anatomy, with exact labels, in nnU-Net's raw layout."""
    from sautomed.datasets.phantom import KINDS, write_phantoms

    if kind not in KINDS:
        raise UsageError(f"there is no phantom kind '{kind}'.", where="--kind", cure=f"Use one of {', '.join(KINDS)}.")
    with progress.stages(err) as stages:
        write_phantoms(output, count, kind, seed, on_case=stages.counter("Making phantoms"))
    out.print(f"{count} phantoms: {escape(str(output))}", soft_wrap=True)


@app.command()
def train(
    dataset: Annotated[Path, typer.Option("-d", "--dataset", help="Folder in nnU-Net's raw layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; a fold writes fold_K in it.")],
    config: Annotated[
        str | None, typer.Option("-c", "--config", help="Preset or YAML file.", show_default="sam-vit-b")
    ] = None,
    fold: Annotated[str, typer.Option("-f", "--fold", help="Fold to keep aside, 0 to 4, or all.")] = "0",
    weights: Annotated[str | None, typer.Option(help="SAM weights: hub id, folder or file.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, as in train.batch=4.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.1, help="Fit the schedule to this time.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, settings as they were.")
    ] = False,
    device: Device = "auto",
    seed: Seed = 0,
) -> None:
    """Train on one fold of a data set; the run holds a model folder that `segment -m` takes."""
    from sautomed.config import load_settings
    from sautomed.train import Callbacks, TrainingPlan, run_settings
    from sautomed.train import train as run_training

    overrides = list(settings or [])
    if weights:
        overrides += ["model.trunk.kind=sam", f"model.trunk.weights={json.dumps(weights)}"]
    as_before = resume and config is None and not overrides
    chosen = run_settings(output, _fold(fold)) if as_before else load_settings(config or "sam-vit-b", overrides)
    plan = TrainingPlan(dataset, output, chosen, _fold(fold), seed, max_minutes, resume, device)
    with progress.stages(err) as stages:
        model = run_training(plan, Callbacks(stages.counter("Preparing"), stages.training("Training")))
    out.print(f"Model: {escape(str(model))}", soft_wrap=True)


@app.command()
def segment(
    source: Annotated[Path, typer.Option("-i", "--input", help="A scan, or a folder of scans.")],
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder, or the run that holds it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file, or a folder.")],
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")] = False,
    preview: Annotated[bool, typer.Option(help="Write a picture beside each label map.")] = True,
    weights: Annotated[str | None, typer.Option(help="Where the SAM weights are now, if they have moved.")] = None,
) -> None:
    """Segment a scan or a folder of scans, each on its own grid."""
    from sautomed.segment import load, plan_jobs, run_jobs

    jobs = plan_jobs(source, output, overwrite, preview)
    network = load(model, device, weights)
    with progress.stages(err) as stages:
        failures = run_jobs(network, jobs, preview, stages.slices("Segmenting", len(jobs)))
    for job in jobs:
        if job.scan not in {failure.scan for failure in failures}:
            out.print(escape(str(job.target)), soft_wrap=True)
    _report_failures([(failure.scan, failure.error) for failure in failures], len(jobs))


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Option("-p", "--predictions", help="Label maps to score: a folder or a file.")],
    references: Annotated[Path, typer.Option("-r", "--references", help="The truth: a folder or a file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for scores.csv and summary.json.")],
) -> None:
    """Score label maps against the truth: DSC, HD95, HD and NSD, on the native grid."""
    from sautomed.evaluate import evaluate as score

    failed: SomeCasesFailed | None = None
    with progress.stages(err) as stages:
        try:
            summary = score(predictions, references, output, on_case=stages.counter("Scoring"))
        except SomeCasesFailed as some:  # the others are scored all the same
            summary, failed = cast("Summary", some.result), some
    out.print(progress.score_table(summary))
    if failed:
        raise failed
    if summary.unpredicted:
        err.print(f"Not scored, for want of a prediction: {len(summary.unpredicted)} references (see summary.json).")


@app.command()
def info(path: Annotated[Path, typer.Argument(help="A scan, a model folder or a run.")]) -> None:
    """Say what a scan or a model is."""
    from sautomed.info import describe

    out.print(progress.facts_table(describe(path)))


def _fold(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise UsageError(f"'{text}' is not a fold.", where="-f", cure="Give a number from 0, or all.")


def _report_failures(failures: list[tuple[Path, SautomedError]], total: int) -> None:
    """A single scan's fault is the command's; of a folder the faults are listed and the exit code says "some"."""
    if not failures:
        return
    if total == 1:
        raise failures[0][1]
    for _, error in failures:
        _print_fault(error)
    others = "none was segmented" if len(failures) == total else "the others are done"
    raise SomeCasesFailed(f"{len(failures)} of {total} scans failed; {others}.",
                          cure="Mend the scans listed above and segment them again.")  # fmt: skip


def _print_fault(error: SautomedError) -> None:
    err.print(f"[bold red]Error[/] [dim]{error.id}[/] {escape(str(error))}", soft_wrap=True, highlight=False)


def _ran_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:  # then it was not PyTorch that ran out, and it need not be imported to ask
        return False
    from sautomed.inference import is_memory_shortage

    return is_memory_shortage(error)


def run(arguments: list[str] | None = None) -> int:
    """The command line as a function: what it would exit with."""
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
    except SautomedError as error:
        _print_fault(error)
        return error.exit_code
    except typer.Exit as stop:
        code = int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  (the last door: whatever comes here is our bug and is said to be one)
        if _ran_out_of_memory(error):
            err.print("[bold red]Error[/] out of memory. Close other programs, or use a smaller train.batch.")
            return EXIT_MEMORY
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's usage errors
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)
        traceback.print_exc()
        err.print("This is a bug in sautomed; please report it with the lines above.")
        return EXIT_INTERNAL
    if code == EXIT_INTERRUPTED:  # typer turns Ctrl-C into an exit
        err.print("Stopped. Files that were written are whole; a training continues with --resume.", soft_wrap=True)
    return code


def main() -> None:
    """Entry point of the `sautomed` command."""
    warnings.simplefilter("ignore")  # of libraries; our own are logged
    logging.basicConfig(format="Warning: %(message)s", level=logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    sys.exit(run())


if __name__ == "__main__":
    main()
