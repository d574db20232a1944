"""The command studio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sautomed.cli.app import Device, print_line, print_note

_LOOPBACK = "127.0.0.1"
_THIS_MACHINE = (_LOOPBACK, "localhost", "::1")


def studio(
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder, or the run that holds it.")],
    source: Annotated[
        Path, typer.Option("-i", "--input", help="A scan, a DICOM folder or zip, or a folder with scans.")
    ] = Path(),
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of saved masks and of the logs of edits.")
    ] = Path("studio"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on. By default only this machine can reach the page.")
    ] = _LOOPBACK,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: Device = "auto",
) -> None:
    """See and correct every automatic prompt in a browser, and let corrections travel; until Ctrl-C."""
    from sautomed.inference.model import load
    from sautomed.studio import require_packages, start_studio

    require_packages()  # before the model is read

    def on_ready(url: str) -> None:
        print_line(url)
        if host not in _THIS_MACHINE:
            print_note(
                "Whoever reaches this address and knows its token sees the scans and can change the results. "
                "The connection is not encrypted."
            )
        print_note("Ctrl-C ends it; every edit is kept.")

    start_studio(load(model, device), source, output, host, port, browser, on_ready)
