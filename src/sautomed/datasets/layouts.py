"""Which layout a folder is in: told by what lies in it, or said by the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from sautomed.datasets import btcv, msd, nnunet_raw, segthor
from sautomed.datasets.chaos import layout as chaos
from sautomed.datasets.dataset import Dataset
from sautomed.datasets.transunet import layout as transunet
from sautomed.errors import MissingFile, UnknownLayout, UnknownSetting

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """How one kind of dataset lies in its folder.

    Args:
        detect: Whether a folder is in that layout; reads names, no voxels.
        read: The dataset; raises DataError.
        looks_for: What `detect` looks for, for the user.
        by_name_only: Another reading of a layout that stands in the table too: taken when it is asked for.
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
    """The description of a dataset and its cases; voxels are read when a case is loaded.

    Args:
        folder: The dataset's root, or a folder within that its layout knows.
        layout: A key of `DATASETS`; "auto" finds it out.
    Raises:
        MissingFile: There is no such folder, or it may not be read.
        UnknownSetting: There is no such layout.
        UnknownLayout: The folder is in none, or in several.
        DataError: What the layout finds wrong: BadDatasetJson, NoCases, UnpairedFiles, TooManyChannels.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFile("there is no such dataset folder.", where=folder, cure="Check the path given with -d.")
    try:
        return DATASETS[find_layout(folder) if layout == AUTO else _known(layout)].read(folder)
    except PermissionError as error:
        raise MissingFile(
            f"may not be read: {error.strerror} ({error.filename}).", where=folder, cure="Change its permissions."
        ) from error


def find_layout(folder: Path) -> str:
    """The one layout that a folder is in; raises UnknownLayout."""
    automatic = {name: layout for name, layout in DATASETS.items() if not layout.by_name_only}
    found = [name for name, layout in automatic.items() if layout.detect(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownLayout(
            f"is in several dataset layouts: {', '.join(found)}.",
            where=folder,
            cure=f"Say which one is meant, for example --layout {found[0]}.",
        )
    looked = "; ".join(f"{name}: {layout.looks_for}" for name, layout in automatic.items())
    raise UnknownLayout(
        f"is in no dataset layout that is read. Looked for: {looked}. {_nearest(folder, automatic)}",
        where=folder,
        cure="Give the folder that holds these, or say with --layout which one it should be and read what it lacks.",
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


def _nearest(folder: Path, layouts: Mapping[str, Layout]) -> str:
    """A folder around or one step below that is in a layout, or else what lies in this one."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for near in (folder.resolve().parent, *inner[:_NEAR_FOLDERS]):
        fits = _fits(near, layouts)
        if fits:
            return f"Nearest: {near} is in the layout {fits[0]}."
    there = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return f"It holds {', '.join(there[:_SHOWN])}{', ...' if len(there) > _SHOWN else ''}." if there else "It is empty."


def _fits(folder: Path, layouts: Mapping[str, Layout]) -> list[str]:
    try:
        return [name for name, layout in layouts.items() if layout.detect(folder)]
    except PermissionError:  # a neighbour that the user did not name
        return []


_NEAR_FOLDERS = 50  # enough for any dataset's root; a home folder need not be searched
_SHOWN = 8
