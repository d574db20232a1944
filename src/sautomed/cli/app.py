"""The typer application, its two consoles, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sautomed.cli.verbosity import is_quiet
from sautomed.errors import SautomedError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Automatic multi-organ segmentation of 3D CT and MR volumes (3D-SAutoMed).",
)  # fmt: skip
out, err = Console(), Console(stderr=True)

MODEL_HELP = "A model folder, the run that holds it, or phantom-ct, which comes with sautomed."
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[
    str, typer.Option(help="32, bf16, or auto: bf16 where the machine computes in it and the model was checked in it.")
]
Engine = Annotated[
    str, typer.Option(help="torch, openvino (on a CPU, needs the extra [openvino]), or auto: openvino where it can.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Series = Annotated[str | None, typer.Option(help="DICOM series: its number, UID or part of its description.")]
Frame = Annotated[int | None, typer.Option(min=0, help="Which volume of a scan with several, from 0.")]
Channel = Annotated[int | None, typer.Option(min=0, help="Which value of a scan with several per voxel, from 0.")]
Resample = Annotated[bool, typer.Option("--resample", help="Correct gantry tilt, uneven gaps and shear by resampling.")]
Layout = Annotated[
    str, typer.Option(help="Layout of the data set, if it cannot be detected, such as btcv-8 or chaos-t1in.")
]
MapLabels = Annotated[
    list[str] | None, typer.Option("--map", help="OLD=NEW: replace a label, by value or name. Repeatable.")
]
IgnoreLabels = Annotated[
    list[str] | None, typer.Option("--ignore", help="Label to treat as background, by value or name. Repeatable.")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Spread the work with Ray: auto for this machine, or HOST:PORT of a cluster."),
]
RayCores = Annotated[int, typer.Option("--ray-cores", min=1, help="Processor cores of each of Ray's workers.")]
AssumeSpacing = Annotated[
    bool, typer.Option("--assume-spacing", help="Use a NIfTI header's spacing if it gives no orientation.")
]


def print_line(text: str) -> None:
    """Print a line of the result as it is: without markup or line breaks."""
    out.print(escape(text), soft_wrap=True)


def print_note(text: str) -> None:
    """Print a line about the work as it is, on standard error; not with -q."""
    if not is_quiet():
        err.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_fault(error: SautomedError) -> None:
    """Print where something is wrong, what, and the cure, on standard error."""
    err.print(f"[bold red]Error[/] [dim]{error.id}[/] {escape(str(error))}", soft_wrap=True, highlight=False)
