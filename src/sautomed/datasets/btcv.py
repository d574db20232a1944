"""BTCV ("Synapse multi-atlas", MICCAI 2015): RawData/Training/img/img0001.nii.gz and label/label0001.nii.gz.

Thirteen organs (`btcv`), or the eight that the paper scores and the other five as background (`btcv-8`). The test
scans have no label maps and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from sautomed.datasets.dataset import CURE_OF_UNKNOWN_VALUES, Case, Dataset, FileReader
from sautomed.datasets.names import files_in, first_root, unpaired_names
from sautomed.errors import NoCases, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans import read_labels
from sautomed.scans.grid import Plane
from sautomed.scans.label_names import match_names
from sautomed.scans.read import refuse_unknown_values
from sautomed.scans.volume import LabelMap, Volume

LOOKS_FOR = "RawData/Training/img/imgNNNN.nii.gz and RawData/Training/label/labelNNNN.nii.gz"
LABELS: Mapping[int, str] = MappingProxyType(
    dict(
        enumerate(
            (
                "spleen",
                "right_kidney",
                "left_kidney",
                "gallbladder",
                "esophagus",
                "liver",
                "stomach",
                "aorta",
                "inferior_vena_cava",
                "portal_and_splenic_vein",
                "pancreas",
                "right_adrenal_gland",
                "left_adrenal_gland",
            ),
            start=1,
        )
    )
)
# Table 1 of the paper, numbered as in SAMed, whose protocol it follows.
PAPER_LABELS: Mapping[int, str] = MappingProxyType(
    {
        1: "spleen",
        2: "right_kidney",
        3: "left_kidney",
        4: "gallbladder",
        5: "liver",
        6: "stomach",
        7: "aorta",
        8: "pancreas",
    }
)
_ENDINGS = (".nii.gz", ".nii")
_ROOTS = ("", "Training", "RawData/Training", "Abdomen/RawData/Training")


@dataclass(frozen=True)
class PaperOrganReader(FileReader):
    """Reader that keeps the paper's eight organs and makes the other five background; refuses unknown values."""

    def label(self, case: Case, path: Path, plane: Plane, image: Volume | None) -> tuple[LabelMap, tuple[str, ...]]:
        labels = match_names(read_labels(path, plane), LABELS, where=path)
        refuse_unknown_values(labels, where=path, declared_in="the layout btcv", cure=CURE_OF_UNKNOWN_VALUES)
        values = {name: value for value, name in PAPER_LABELS.items()}
        table = np.array([0, *(values.get(name, 0) for name in LABELS.values())], np.uint8)
        return replace(labels, array=table[labels.array], names=dict(PAPER_LABELS)), ()


def detect(folder: Path) -> bool:
    """Return whether one of the usual roots has a folder img with scans beside a folder label."""
    root = _root(folder)
    return root is not None and _has_scans(root)


def read_all_organs(folder: Path) -> Dataset:
    """Read BTCV with its thirteen organs.

    Raises:
        NoCases: There is no scan.
        UnpairedFiles: A scan has no label map, or the reverse.
    """
    return _read(folder, dict(LABELS), "btcv", FileReader())


def read_paper_organs(folder: Path) -> Dataset:
    """Read BTCV with the eight organs of the paper. Raises as `read_all_organs`."""
    return _read(folder, dict(PAPER_LABELS), "btcv-8", PaperOrganReader())


def _read(folder: Path, labels: dict[int, str], layout: str, reader: FileReader) -> Dataset:
    root = _root(folder) or folder
    images = _by_number(root / "img", "img")
    maps = _by_number(root / "label", "label")
    if not images:
        raise NoCases(
            "has no cases: img holds no file named like img0001.nii.gz.",
            where=root,
            cure="Unpack RawData.zip of the challenge there.",
        )
    cases = tuple(Case(number, image, maps.get(number)) for number, image in images.items())
    dataset = Dataset(folder, "BTCV", "CT", labels, cases, layout, reader)
    unpaired = unpaired_names(set(images), set(maps))
    if unpaired:
        raise UnpairedFiles(
            f"{len(unpaired)} files have no partner: {listed(unpaired)}.",
            where=root,
            cure="Each imgNNNN in img needs a labelNNNN in label: add the missing file, or take the other one out.",
            result=dataset,
        )
    return dataset


def _root(folder: Path) -> Path | None:
    roots = [first_root(folder, _ROOTS, has_both) for has_both in (_has_scans, _has_folders)]
    return next((root for root in roots if root is not None), None)


def _has_folders(root: Path) -> bool:
    return (root / "img").is_dir() and (root / "label").is_dir()


def _has_scans(root: Path) -> bool:
    return _has_folders(root) and bool(files_in(root / "img", *_ENDINGS))


def _by_number(folder: Path, prefix: str) -> dict[str, Path]:
    """Return files by the part of their name between prefix and ending."""
    found = files_in(folder, *_ENDINGS)
    return {path.name.split(".")[0].removeprefix(prefix): path for path in found if path.name.startswith(prefix)}
