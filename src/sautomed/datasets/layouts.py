"""The table of dataset layouts; a folder is read in the layout that is detected or that the user names.

To add a layout, write a module with `detect`, `read_dataset` and `LOOKS_FOR` (see `segthor.py`) and add its row to
`DATASETS`. Its tests need a row in `tests/datasets/miniatures.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from sautomed.datasets import btcv, msd, nnunet_raw, segthor
from sautomed.datasets.chaos import layout as chaos
from sautomed.datasets.dataset import Dataset
from sautomed.datasets.transunet import layout as transunet
from sautomed.errors import DataError, MissingFile, UnknownLayout, UnknownSetting, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans import read_geometry
from sautomed.scans.paths import require_folder

AUTO = "auto"
_NEAR_FOLDERS = 50  # ours: enough for the root of any dataset, and little for a home folder


@dataclass(frozen=True)
class Layout:
    """One way to keep a dataset in a folder.

    Args:
        detect: Return whether a folder is in this layout, from the names of its files.
        read: Read the dataset without its voxels; raises DataError.
        looks_for: The files that `detect` looks for, for messages.
        by_name_only: Never detected, only used when it is named: it reads the same files as another row.
    """

    detect: Callable[[Path], bool]
    read: Callable[[Path], Dataset]
    looks_for: str
    by_name_only: bool = False


def _chaos_mr(name: str, *sequences: str, by_name_only: bool = False) -> Layout:
    return Layout(chaos.detect_mr, chaos.mr_reader(name, *sequences), chaos.LOOKS_FOR_MR, by_name_only)


DATASETS: Mapping[str, Layout] = MappingProxyType(
    {
        "nnunet-raw": Layout(nnunet_raw.detect, nnunet_raw.read_dataset, nnunet_raw.LOOKS_FOR),
        "msd": Layout(msd.detect, msd.read_dataset, msd.LOOKS_FOR),
        "btcv": Layout(btcv.detect, btcv.read_all_organs, btcv.LOOKS_FOR),
        "btcv-8": Layout(btcv.detect, btcv.read_paper_organs, btcv.LOOKS_FOR, by_name_only=True),
        "chaos-t2spir": _chaos_mr("chaos-t2spir", "t2spir"),
        "chaos-t1in": _chaos_mr("chaos-t1in", "t1in", by_name_only=True),
        "chaos-t1out": _chaos_mr("chaos-t1out", "t1out", by_name_only=True),
        "chaos-mr": _chaos_mr("chaos-mr", "t2spir", "t1in", "t1out", by_name_only=True),
        "chaos-ct": Layout(chaos.detect_ct, chaos.read_ct, chaos.LOOKS_FOR_CT),
        "segthor": Layout(segthor.detect, segthor.read_dataset, segthor.LOOKS_FOR),
        "transunet": Layout(transunet.detect, transunet.reader("transunet"), transunet.LOOKS_FOR),
        "transunet-samed": Layout(
            transunet.detect, transunet.reader("transunet-samed"), transunet.LOOKS_FOR, by_name_only=True
        ),
    }
)


def read_dataset(folder: str | Path, layout: str = AUTO) -> Dataset:
    """Read the description of a dataset and list its cases; voxels are read when a case is loaded.

    Args:
        folder: The dataset's root, or a folder within it that its layout accepts as well.
        layout: A key of `DATASETS`; "auto" detects it.
    Raises:
        MissingFile: There is no such folder, or it may not be read.
        UnknownSetting: There is no such layout.
        UnknownLayout: The folder is in no layout, or in several.
        DataError: As the layout's `read`: BadDatasetJson, NoCases, UnpairedFiles, TooManyChannels.
    """
    folder = Path(folder)
    require_folder(folder)
    try:
        return DATASETS[detect_layout(folder) if layout == AUTO else _known(layout)].read(folder)
    except PermissionError as error:
        raise MissingFile(
            f"may not be read: {error.strerror} ({error.filename}).", where=folder, cure="Change its permissions."
        ) from error


def read_label_names_of(folder: str | Path, layout: str = AUTO) -> dict[int, str]:
    """Read the label names of a dataset, without the background; files without a partner do not matter.

    Raises:
        DataError: As `read_dataset`, except UnpairedFiles.
        UnknownSetting: There is no such layout.
    """
    return _read_pairs(folder, layout).labels


def read_names_in_headers(folder: str | Path, layout: str = AUTO) -> set[str]:
    """Read the names of labels that headers of a dataset's label maps give.

    Raises:
        DataError: As `read_label_names_of`; a label map that cannot be read gives no names.
    """
    names: set[str] = set()
    for case in _read_pairs(folder, layout).cases:
        if case.label is not None and case.label.is_file():
            with suppress(DataError):
                names |= set(read_geometry(case.label, labels=True).names.values())
    return names


def _read_pairs(folder: str | Path, layout: str) -> Dataset:
    """Read a dataset; files without a partner are left out."""
    try:
        return read_dataset(folder, layout)
    except UnpairedFiles as fault:
        if not isinstance(fault.result, Dataset):
            raise
        return fault.result


def detect_layout(folder: Path) -> str:
    """Return the one layout that a folder is in. Raises UnknownLayout if there is none, or several."""
    automatic = {name: layout for name, layout in DATASETS.items() if not layout.by_name_only}
    found = [name for name, layout in automatic.items() if layout.detect(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownLayout(
            f"is in several dataset layouts: {listed(found)}.",
            where=folder,
            cure=f"Choose one, for example --layout {found[0]}.",
        )
    looked = "; ".join(f"{name}: {layout.looks_for}" for name, layout in automatic.items())
    raise UnknownLayout(
        f"is in no known dataset layout. Looked for: {looked}. {_suggest_folder(folder, automatic)}",
        where=folder,
        cure="Give the folder that holds these files, or name its layout with --layout to see what is missing.",
    )


def _known(layout: str) -> str:
    if layout in DATASETS:
        return layout
    near = get_close_matches(layout, DATASETS, n=1)
    raise UnknownSetting(
        f"there is no layout {layout!r}.",
        where="--layout",
        cure=f"{f'Did you mean {near[0]}? ' if near else ''}There are: {AUTO}, {', '.join(DATASETS)}.",
    )


def _suggest_folder(folder: Path, layouts: Mapping[str, Layout]) -> str:
    """Name the folder above, or one directly below, that is in a layout; otherwise list what this one holds."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for near in (folder.resolve().parent, *inner[:_NEAR_FOLDERS]):
        matching = _matching_layouts(near, layouts)
        if matching:
            return f"Nearest: {near} is in the layout {matching[0]}."
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return f"It holds {listed(names)}." if names else "It is empty."


def _matching_layouts(folder: Path, layouts: Mapping[str, Layout]) -> list[str]:
    try:
        return [name for name, layout in layouts.items() if layout.detect(folder)]
    except PermissionError:  # a neighbour that the user did not name
        return []
