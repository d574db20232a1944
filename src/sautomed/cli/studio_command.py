"""The command studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sautomed.cli.app import MODEL_HELP, Device, Engine, Precision, print_line, print_note
from sautomed.errors import UsageError
from sautomed.inference.shipped import PHANTOM_CT, SHIPPED

_LOOPBACK = "127.0.0.1"
_THIS_MACHINE = (_LOOPBACK, "localhost", "::1")
WHAT_TO_PRESS = (
    "On the page, n goes to the least sure slice. Drag a side of the box to where the organ ends, press w to let the "
    "slices around follow, and s to save. ? shows all keys."
)


def studio(
    model: Annotated[Path | None, typer.Option("-m", "--model", help=MODEL_HELP)] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "-i", "--input", help="A scan, a DICOM folder or zip, or a folder with scans.", show_default="this folder"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of saved masks and of the logs of edits.",
            show_default="studio, or studio-demo with --demo",
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Try it on a phantom, with the model phantom-ct; instead of -m and -i.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on. By default only this machine can reach the page.")
    ] = _LOOPBACK,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "torch",
) -> None:
    """See and correct every automatic prompt in a browser, and let corrections travel; until Ctrl-C."""
    chosen = _model_of(model, source, demo)
    from sautomed.inference.model import load
    from sautomed.studio import require_packages, start_studio
    from sautomed.studio.demo import demo_scan

    require_packages()  # before the model is read
    results = output or Path("studio-demo" if demo else "studio")
    scans = demo_scan(results) if demo else source or Path()

    def on_ready(url: str) -> None:
        print_line(url)
        if host not in _THIS_MACHINE:
            print_note(
                "Whoever reaches this address and knows its token sees the scans and can change the results. "
                "The connection is not encrypted."
            )
        if demo:
            print_note(WHAT_TO_PRESS)
        print_note("Ctrl-C ends it; every edit is kept.")

    start_studio(load(chosen, device, None, precision, engine), scans, results, host, port, browser, on_ready)


def _model_of(model: Path | None, source: Path | None, demo: bool) -> Path:
    """Return where the model is: the one that is given, or that of the demo.

    Raises:
        UsageError: There is none, or the demo is given a model or a scan.
    """
    if demo and (model or source):
        raise UsageError(
            "brings a model and a scan of its own.",
            where="--demo",
            cure="Leave out -m and -i; or leave out --demo to use yours.",
        )
    if demo:
        return SHIPPED / PHANTOM_CT
    if model is None:
        raise UsageError(
            "a model is missing.",
            where="sautomed studio",
            cure="Give a model folder or a run with -m; or try the page with --demo, which brings a model and a scan.",
        )
    return model
