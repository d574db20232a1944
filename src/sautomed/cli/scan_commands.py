"""Commands that take scans and data sets as they come: segment, convert, info, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sautomed.cli import progress
from sautomed.cli.app import (
    AssumeSpacing,
    Channel,
    Device,
    Frame,
    IgnoreLabels,
    Layout,
    MapLabels,
    Resample,
    Series,
    err,
    out,
    print_fault,
    say,
)
from sautomed.errors import SautomedError, SomeCasesFailed


def segment(
    source: Annotated[Path, typer.Option("-i", "--input", help="A scan, a DICOM folder or zip, or a folder of scans.")],
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder, or the run that holds it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file, whose ending says the format, or a folder.")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="nii.gz, nrrd, seg.dcm, ...; may be given several times.")
    ] = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave cases that are done and whole; do the rest.")] = False,
    preview: Annotated[bool, typer.Option(help="Write a picture beside each label map.")] = True,
    report: Annotated[bool, typer.Option("--json", help="Write CASE.json for a single scan too.")] = False,
    max_ram: Annotated[float | None, typer.Option(min=0.1, help="The most memory to hold, in GB.")] = None,
    weights: Annotated[str | None, typer.Option(help="Where the SAM weights are now, if they have moved.")] = None,
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Segment a scan or a folder of scans, each on its own grid."""
    from sautomed.inference.batch import SegmentOptions, plan_jobs, run_plan
    from sautomed.inference.model import load
    from sautomed.scans import ReadOptions

    reading = ReadOptions(series, frame, channel, resample, assume_spacing)
    plan = plan_jobs(source, output, SegmentOptions(
        tuple(formats or ()), reading, preview, report, overwrite, resume, max_ram))  # fmt: skip
    network = load(model, device, weights)
    with progress.stages(err) as stages:
        outcome = run_plan(network, plan, stages.slices("Segmenting", len(plan.jobs)))
    failed = {failure.job for failure in outcome.failures}
    for target in (target for job in plan.jobs if job not in failed for target in job.targets):
        out.print(escape(str(target)), soft_wrap=True)
    if outcome.skipped:
        err.print(f"{len(outcome.skipped)} of {len(plan.jobs)} scans were done already.")
    _report_failures([failure.error for failure in outcome.failures], len(plan.jobs), plan.several)


def convert(
    source: Annotated[Path, typer.Option("-i", "--input", help="A scan or label map, a DICOM folder or zip.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A file ending in .nii.gz, .nii, .nrrd or .mha.")],
    labels: Annotated[bool, typer.Option("--labels", help="It is a label map: resample without mixing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")] = False,
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Write a scan or label map in another format, voxel for voxel, at its place in the patient."""
    from sautomed.cli.convert import convert as verb
    from sautomed.scans import ReadOptions

    options = ReadOptions(series, frame, channel, resample, assume_spacing)
    for text in verb(source, output, options, labels=labels, overwrite=overwrite).warnings:
        err.print(f"Warning: {escape(text)}", soft_wrap=True, highlight=False)
    say(str(output))


def info(
    path: Annotated[Path, typer.Argument(help="A scan, a DICOM folder or zip, a model folder or a run.")],
    series: Series = None,
    frame: Frame = None,
    channel: Channel = None,
    resample: Resample = False,
    assume_spacing: AssumeSpacing = False,
) -> None:
    """Say what a scan or a model is: format, geometry, intensities and warnings; of DICOM, the series."""
    from sautomed.cli.info import describe
    from sautomed.scans import ReadOptions

    out.print(progress.facts_table(describe(path, ReadOptions(series, frame, channel, resample, assume_spacing))))


def doctor(
    dataset: Annotated[Path, typer.Argument(help="Folder of a data set, in any layout that is read.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write an HTML page with every case.")] = None,
    layout: Layout = "auto",
    fix: Annotated[Path | None, typer.Option("--fix", help="New folder for corrected copies.")] = None,
    map_labels: MapLabels = None,
    ignore: IgnoreLabels = None,
) -> None:
    """Check every case of a data set; exit 3 if something must be mended, or after --fix could not be."""
    from sautomed.datasets.doctor import examine as verb
    from sautomed.datasets.rules import parse_rules
    from sautomed.inference.preview import thumbnail_png
    from sautomed.report.doctor import write_doctor_page
    from sautomed.scans.files import require_writable_file

    rules = parse_rules(map_labels or [], ignore or [])
    if output:
        require_writable_file(output)
    if fix:
        verb.require_new_target(dataset, fix)  # before the long work
    with progress.stages(err) as stages:
        diagnosis = verb.examine(dataset, layout, stages.counter("Examining"), rules, thumbnail_png)
    if diagnosis.findings:
        out.print(progress.findings_table(diagnosis))
    out.print(f"[bold]{escape(diagnosis.summary)}[/]", soft_wrap=True)
    if output:
        write_doctor_page(output, diagnosis)
        say(f"Page: {output}")
    if not fix:
        diagnosis.require_sound()
        return
    with progress.stages(err) as stages:
        mended = verb.fix(diagnosis, fix, rules, stages.counter("Correcting"))
    out.print(escape(f"{mended.summary} {fix}"), soft_wrap=True)
    if mended.left_out:
        out.print(progress.left_out_table(mended))
    if output:
        write_doctor_page(output, diagnosis, mended)
    mended.require_whole()


def _report_failures(failures: list[SautomedError], total: int, several: bool) -> None:
    """A single scan's fault is the command's; of a folder the faults are listed and the exit code says "some"."""
    if not failures:
        return
    if not several:
        raise failures[0]
    for error in failures:
        print_fault(error)
    others = "none was segmented" if len(failures) == total else "the others are done"
    raise SomeCasesFailed(f"{len(failures)} of {total} scans failed; {others}.",
                          cure="Mend the scans above (also in failures.json), then run it with --resume.")  # fmt: skip
