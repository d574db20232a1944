"""The application that the commands belong to, its two consoles, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sautomed.errors import SautomedError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    help="Automatic multi-organ segmentation of 3D CT and MR volumes (3D-SAutoMed).",
)  # fmt: skip
out, err = Console(), Console(stderr=True)

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Series = Annotated[str | None, typer.Option(help="Of DICOM: its number, UID or a part of its description.")]
Frame = Annotated[int | None, typer.Option(min=0, help="Of a scan with several volumes, which one, from 0.")]
Channel = Annotated[int | None, typer.Option(min=0, help="Of a scan with several values per voxel, which, from 0.")]
Resample = Annotated[bool, typer.Option("--resample", help="Mend gantry tilt, uneven gaps and shear by resampling.")]
Layout = Annotated[str, typer.Option(help="Of the data set, where it cannot be told, such as btcv-8 or chaos-t1in.")]
MapLabels = Annotated[list[str] | None, typer.Option("--map", help="OLD=NEW: what a label value means. Repeatable.")]
IgnoreLabels = Annotated[list[str] | None, typer.Option("--ignore", help="Label value that is background. Repeatable.")]
AssumeSpacing = Annotated[
    bool, typer.Option("--assume-spacing", help="Take a NIfTI header's spacing where it gives no orientation.")
]


def say(text: str) -> None:
    """A line of the result, with nothing in it taken for markup and no path broken."""
    out.print(escape(text), soft_wrap=True)


def print_fault(error: SautomedError) -> None:
    """What is wrong, where, and the cure, to the standard error."""
    err.print(f"[bold red]Error[/] [dim]{error.id}[/] {escape(str(error))}", soft_wrap=True, highlight=False)
