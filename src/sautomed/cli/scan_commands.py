"""The commands on scans and data sets: segment, merge, convert, info, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sautomed.cli import tables
from sautomed.cli.app import (
    MODEL_HELP,
    AssumeSpacing,
    Channel,
    Device,
    Engine,
    Frame,
    IgnoreLabels,
    Layout,
    MapLabels,
    Precision,
    Ray,
    RayCores,
    Resample,
    Series,
    err,
    out,
    print_fault,
    print_line,
    print_note,
)
from sautomed.cli.places import given_place
from sautomed.cli.progress import Stages, shown_progress
from sautomed.cli.stopping import STOPPED, stop_explained
from sautomed.cli.verbosity import is_quiet
from sautomed.errors import SautomedError, SomeCasesFailed, UsageError
from sautomed.errors.text import listed

if TYPE_CHECKING:
    from sautomed.inference.batch import BatchOutcome, Plan
    from sautomed.inference.model import Model

ScanList = Annotated[
    str | None,
    typer.Option("--list", help="CSV or Parquet file, or its URL: columns case, path; optional series, output."),
]


def segment(
    model: Annotated[Path, typer.Option("-m", "--model", help=MODEL_HELP)],
    output: Annotated[
        str, typer.Option("-o", "--output", help="A file, whose ending decides the format, or a folder; or a URL.")
    ],
    source: Annotated[
        str | None,
        typer.Option("-i", "--input", help="A scan, a DICOM folder or zip, or a folder with scans; or a URL."),
    ] = None,
    scan_list: ScanList = None,
    shard: Annotated[
        str | None,
        typer.Option(help="i/n: only part i of n of the scans; slurm: that of this task of an array, as with --list."),
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="nii.gz, nrrd, seg.dcm, ... Repeatable.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "torch",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip cases that are done and complete; do the rest.")
    ] = False,
    preview: Annotated[bool, typer.Option(help="Write a picture beside each label map.")] = True,
    report: Annotated[bool, typer.Option("--json", help="Write CASE.json for a single scan too.")] = False,
    max_ram: Annotated[float | None, typer.Option(min=0.1, help="Largest main memory to use, in GB.")] = None,
    weights: Annotated[str | None, typer.Option(help="Where the SAM weights are now, if they were moved.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Replay a FILE.prompts.json of this scan and model.")
    ] = None,
    force_prompts: Annotated[
        bool, typer.Option("--force-prompts", help="Replay --prompts of another scan or model too.")
    ] = False,
    ray: Ray = None,
    ray_cores: RayCores = 1,
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Segment a scan, or a folder or list of scans, each on its own grid."""
    if (source is None) == (scan_list is None):
        raise UsageError(
            "needs scans: either one with -i, or a list of them.",
            where="sautomed segment",
            cure="Give a scan or a folder of scans with -i; or a CSV or Parquet file with --list.",
        )
    from sautomed.inference.batch import SegmentOptions, plan_jobs, plan_list
    from sautomed.inference.batch.shards import shard_of_text
    from sautomed.inference.model import load
    from sautomed.inference.prompts.check import Replay
    from sautomed.inference.prompts.file import read_prompts
    from sautomed.scans import ReadOptions

    reading = ReadOptions(series, frame, channel, resample, assume_spacing)
    replay = None if prompts is None else Replay(prompts, read_prompts(prompts), force_prompts)
    options = SegmentOptions(tuple(formats or ()), reading, preview, report, overwrite, resume, max_ram, replay)
    make_plan = plan_jobs if scan_list is None else plan_list
    plan = make_plan(
        given_place(source or scan_list or ""), given_place(output), options, shard_of_text(shard) if shard else None
    )

    def explain_stop() -> str:
        has_done = any(isinstance(report, Path) and report.is_file() for report in plan.reports.values())
        return f"{STOPPED} The other scans are segmented with --resume." if has_done else STOPPED

    with stop_explained(explain_stop), shown_progress() as stages:
        if ray is None:
            outcome = _run_here(load(model, device, weights, precision, engine), plan, stages)
        else:
            from sautomed.cluster.case_worker import ModelChoice
            from sautomed.cluster.segment import run_plan_on_ray
            from sautomed.cluster.share import Cluster

            place = Cluster(ray, ray_cores, device)
            choice = ModelChoice(model, weights, precision, engine)
            outcome = run_plan_on_ray(choice, plan, place, stages.counter("Segmenting"))
    failed = {failure.job.case for failure in outcome.failures}
    for job in (job for job in plan.jobs if job.case not in failed):
        for target in job.targets:
            print_line(str(job.place_of(target)))
    if outcome.skipped:
        print_note(f"{len(outcome.skipped)} of {len(plan.jobs)} scans were done already.")
    review = tables.review_table(outcome.summary)
    if review is not None and not is_quiet():
        err.print(review)
    _report_failures([failure.error for failure in outcome.failures], plan)


def merge(
    output: Annotated[str, typer.Argument(help="The folder or URL that segment wrote with -o.")],
    scan_list: ScanList = None,
) -> None:
    """Make one summary.json and failures.json of shards; exit 6 if cases failed, are missing or of several models."""
    from sautomed.inference.batch.merge import merge as merge_shards

    folder = given_place(output)
    merged = merge_shards(folder, given_place(scan_list) if scan_list else None)
    review = tables.review_table(merged.cases)
    if review is not None and not is_quiet():
        err.print(review)
    print_line(f"{len(merged.cases)} cases: {folder / 'summary.json'}")
    several = merged.models if len(merged.models) > 1 else ()
    for model in several:
        print_line(f"{len(model.cases)} cases by {model}")
    gaps = [
        *([f"shards that have not begun: {listed(merged.shards)}"] if merged.shards else []),
        *([f"cases that are missing: {listed(merged.missing)}"] if merged.missing else []),
        *([f"cases that failed: {listed(merged.failed)}"] if merged.failed else []),
        *(f"cases by {model}: {listed(model.cases)}" for model in several),
    ]
    if gaps:
        raise SomeCasesFailed(
            f"{'; '.join(gaps)}.",
            where=str(folder),
            cure="Run segment again for these, or for their shards, with --resume"
            f"{', one -m, --engine and --precision by name' if several else ''}, then merge again.",
        )


def convert(
    source: Annotated[Path, typer.Option("-i", "--input", help="A scan or label map, a DICOM folder or zip.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file ending in .nii.gz, .nii, .nrrd or .mha.")],
    labels: Annotated[
        bool, typer.Option("--labels", help="The input is a label map: resample by nearest neighbour.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Write a scan or label map in another format, voxel for voxel, at the same place in the patient."""
    from sautomed.cli.convert import convert_file
    from sautomed.scans import ReadOptions

    options = ReadOptions(series, frame, channel, resample, assume_spacing)
    for text in convert_file(source, output, options, labels=labels, overwrite=overwrite).warnings:
        err.print(f"Warning: {escape(text)}", soft_wrap=True, highlight=False)
    print_line(str(output))


def info(
    path: Annotated[
        Path,
        typer.Argument(help="A scan, a DICOM folder or zip, FILE.prompts.json, a model folder, a run or phantom-ct."),
    ],
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Describe a scan, prompts or a model: format, geometry, intensities and warnings; for DICOM, the series."""
    from sautomed.cli.info import describe
    from sautomed.scans import ReadOptions

    out.print(tables.facts_table(describe(path, ReadOptions(series, frame, channel, resample, assume_spacing))))


def doctor(
    dataset: Annotated[Path, typer.Argument(help="Folder of a data set, in any supported layout.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write an HTML page with every case.")] = None,
    layout: Layout = "auto",
    fixed: Annotated[Path | None, typer.Option("--fix", help="New folder for corrected copies.")] = None,
    map_labels: MapLabels = None,
    ignore: IgnoreLabels = None,
) -> None:
    """Check every case of a data set; exit 3 if something must be corrected, or with --fix could not be."""
    from sautomed.datasets.doctor.examine import examine, fix, require_new_target
    from sautomed.datasets.parse_rules import rules_for
    from sautomed.inference.preview import thumbnail_png
    from sautomed.report.doctor import write_doctor_page
    from sautomed.scans.files import require_writable_file

    rules = rules_for(dataset, layout, map_labels, ignore)
    if output:
        require_writable_file(output)
    if fixed:
        require_new_target(dataset, fixed)  # before the long work
    with shown_progress() as stages:
        diagnosis = examine(dataset, layout, stages.counter("Examining"), rules, thumbnail_png)
    if diagnosis.findings:
        out.print(tables.findings_table(diagnosis))
    out.print(f"[bold]{escape(diagnosis.summary)}[/]", soft_wrap=True)
    if output:
        write_doctor_page(output, diagnosis)
        print_line(f"Page: {output}")
    if not fixed:
        diagnosis.require_sound()
        return
    with shown_progress() as stages:
        mended = fix(diagnosis, fixed, rules, stages.counter("Correcting"))
    print_line(f"{mended.summary} {fixed}")
    if mended.left_out:
        out.print(tables.left_out_table(mended))
    if output:
        write_doctor_page(output, diagnosis, mended)
    mended.require_whole()


def _run_here(model: Model, plan: Plan, stages: Stages) -> BatchOutcome:
    """Segment the scans of a plan in this process."""
    from sautomed.inference.batch import run_plan

    replay, progress = plan.options.replay, stages.slices("Segmenting", len(plan.jobs))
    if replay is None:
        return run_plan(model, plan, progress)
    from sautomed.editing.replay import as_recorded, slices_replayed

    return run_plan(as_recorded(model, replay.document), plan, progress, slices_replayed(replay.document))


def _report_failures(failures: list[SautomedError], plan: Plan) -> None:
    """Raise the fault of a single scan; list those of several and raise that some failed."""
    if not failures:
        return
    if plan.failures is None:
        raise failures[0]
    for error in failures:
        print_fault(error)
    total = len(plan.jobs)
    others = "none was segmented" if len(failures) == total else "the others are done"
    raise SomeCasesFailed(
        f"{len(failures)} of {total} scans failed; {others}.",
        cure=f"Correct the scans above (also in {plan.failures.name}), then run it with --resume.",
    )
