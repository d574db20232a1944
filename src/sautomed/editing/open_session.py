"""Open a session on a scan."""

from __future__ import annotations

from pathlib import Path

from sautomed.editing.session import Session
from sautomed.inference.memory import choose_chunk, trunk_cost
from sautomed.inference.model import Model, load, with_chunk
from sautomed.inference.segmenting import OnSlice
from sautomed.scans import ReadOptions, read_geometry
from sautomed.scans.read import DEFAULT_OPTIONS
from sautomed.scans.volume import Volume


def edit(
    model: Model | str | Path,
    scan: str | Path | Volume,
    folder: str | Path | None = None,
    on_slice: OnSlice | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> Session:
    """Segment a scan and return a session that corrects the result.

    Args:
        model: A model, or the folder of one.
        scan: A file or folder, or a volume from `model.read`.
        folder: Where the log of the session lies, or will lie; edits that it holds are made again. None: no log.
        on_slice: Called after each slice of the automatic walk with the slices done and their number.
        options: How the scan is read, or was read.
    Raises:
        DataError: The scan cannot be used, or the log is damaged.
        ModelError: There is no model, or it cannot be used.
        UsageError: The model does not go from slice to slice, or has no folder that a log could name.
        LogMismatch: The log is of another scan, model or walk.
        TargetInUse: Another session holds the log.
        UnwritableTarget: The folder cannot be written to.
        MemoryShortage: The scan is too large for this machine; it was not read.
    """
    loaded = model if isinstance(model, Model) else load(model)
    log = None if folder is None else Path(folder)
    if isinstance(scan, Volume):
        return Session(loaded, scan, log, on_slice, options)
    fitting = _within_memory(loaded, Path(scan), options)
    return Session(fitting, fitting.read(scan, options), log, on_slice, options)


def _within_memory(model: Model, scan: Path, options: ReadOptions) -> Model:
    """Return the model with as many slices at a time as memory suffices for, by the scan's header.

    Raises:
        MemoryShortage: Not even one slice at a time fits.
    """
    cost = trunk_cost(model.network, int(model.settings.data.image_size))
    chunk, _ = choose_chunk(read_geometry(scan, options), model, cost, session=True)
    return model if chunk == model.settings.segment.chunk else with_chunk(model, chunk)
