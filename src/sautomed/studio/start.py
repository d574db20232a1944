"""Start the studio with a model and a folder; the packages of the extra [studio] are imported with the first use."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sautomed.errors import PackageMissing
from sautomed.inference.intensity import intensity_range
from sautomed.inference.model import Model
from sautomed.scans.files import require_writable
from sautomed.scans.volume import Volume
from sautomed.studio.folder import ScanFolder
from sautomed.studio.opening import session_opener


def require_packages() -> None:
    """Raise PackageMissing if the extra [studio] is not installed."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise PackageMissing(
            f"the page needs packages that are not installed: {', '.join(missing)}.",
            where="sautomed studio", cure='Install them with: pip install "sautomed[studio]"',
        )  # fmt: skip


def start_studio(
    model: Model, source: Path, output: Path, host: str, port: int, browser: bool, on_ready: Callable[[str], None]
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, which is raised again once all is closed.

    Args:
        source: A scan, or a folder of scans.
        output: Folder of results and of the logs of edits.
        port: 0 takes one that is free.
        browser: Whether to open the page in a browser.
        on_ready: Called with the page's address.
    Raises:
        PackageMissing: The extra [studio] is not installed.
        UsageError: The address cannot be used.
        MissingFile, NoCases: There is no scan.
        UnwritableTarget: `output` cannot be written to.
    """
    require_packages()
    from sautomed.studio.server import listen, serve
    from sautomed.studio.workspace import Workspace

    def window_of(volume: Volume) -> tuple[float, float]:
        return intensity_range(volume.array, model.settings.data)

    folder = ScanFolder(source, output)
    require_writable(output)
    name = model.folder.resolve().name if model.folder else "model"
    workspace = Workspace(folder, session_opener(model), window_of, name)
    address = listen(host, port)

    def ready() -> None:
        on_ready(address.url)
        if browser:  # in a thread: some browsers return only when they are closed
            threading.Thread(target=webbrowser.open, args=(address.url,), daemon=True).start()

    serve(workspace, address, ready)
