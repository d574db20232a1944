"""The commands that compare systems: study, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sautomed.cli.app import Device, Ray, RayCores, print_line, print_note
from sautomed.cli.progress import Stages, shown_progress
from sautomed.cli.stopping import STOPPED, stop_explained
from sautomed.errors import UsageError

if TYPE_CHECKING:
    from sautomed.study import Listener, PlannedRun, StudyCallbacks
    from sautomed.training.log import RunningStep

TRAINING_SHARE = 0.9  # ours: share of a run's time, for the progress of all runs


def study(
    file: Annotated[Path, typer.Argument(help="Study file, which names what to compare; examples are in studies/.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the study; each run is a folder in it.")],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue: do runs that are missing or failed, also beside other processes."),
    ] = False,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes-per-run", min=0.1, help="Fit each training to this time.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="NAME=FOLDER: where a data set of the study is. Repeatable.")
    ] = None,
    device: Device = "auto",
    ray: Ray = None,
    ray_cores: RayCores = 1,
) -> None:
    """Train, segment and score every system of a study file; several processes may share the work."""
    from sautomed.study import StudyRequest, run_study
    from sautomed.study.folder import StudyFolder

    def explain_stop() -> str:
        has_begun = StudyFolder(output).description.is_file()
        return f"{STOPPED} The study goes on with --resume." if has_begun else STOPPED

    engine = None
    if ray is not None:
        from sautomed.cluster.share import Cluster
        from sautomed.cluster.study import study_engine

        engine, device = study_engine(Cluster(ray, ray_cores, device)), "auto"  # the workers choose theirs
    request = StudyRequest(file, output, resume, max_minutes, _parse_folders(data or []), device)
    with stop_explained(explain_stop), shown_progress() as stages:
        outcome = run_study(request, _callbacks(stages), engine)
    counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(outcome.counts.items()))
    print_line(f"Study: {output} ({counts})")


def report(folder: Annotated[Path, typer.Argument(help="The folder that sautomed study wrote.")]) -> None:
    """Write the results of a study as one page, and its tables as CSV, Markdown and LaTeX."""
    from sautomed.study.report import write_study_report

    with shown_progress() as stages:
        page = write_study_report(folder, stages.counter("Reading cases"))
    print_line(f"Page: {page}")
    print_line(f"Tables: {page.parent / 'tables'}")


def _callbacks(stages: Stages) -> StudyCallbacks:
    """Return callbacks that show one stage for all runs, which moves with the training, and new ones for each run."""
    from sautomed.study import Listener, StudyCallbacks

    def on_run(run: PlannedRun, done: int, total: int) -> Listener:
        detail = f"{done + 1}/{total} {run.name}"
        stages.show("Runs", done, total, detail, news=True)
        own = stages.of_run(run.name, "Preparing", "Training", "Segmenting", "Scoring")
        training = own.training("Training")

        def on_step(step: RunningStep) -> None:
            training(step)
            stages.show("Runs", done + TRAINING_SHARE * step.progress, total, detail)

        return Listener(own.counter("Preparing"), own.counter("Segmenting"), own.counter("Scoring"), on_step)

    return StudyCallbacks(
        on_phantom=lambda name, *case: stages.counter(f"Phantoms of {name}")(*case),
        on_run=on_run,
        on_waiting=lambda done, total: stages.show("Runs", done, total, f"{done}/{total} waiting for other processes"),
        on_end=_print_status,
    )


def _print_status(run: PlannedRun, status: str) -> None:
    print_note(f"{status.replace('_', ' ')}: {run.name}")


def _parse_folders(given: list[str]) -> dict[str, Path]:
    parts = [text.partition("=") for text in given]
    for (name, _, folder), text in zip(parts, given, strict=True):
        if not name or not folder:
            raise UsageError(
                f"'{text}' is not of the form NAME=FOLDER.",
                where="--data",
                cure="Write, for example, --data btcv=RawData.",
            )
    return {name: Path(folder) for name, _, folder in parts}
