"""CHAOS (ISBI 2019): series of abdominal MR and CT in DICOM, label maps as PNG pictures.

    Train_Sets/MR/PATIENT/T2SPIR/{DICOM_anon,Ground}
    Train_Sets/MR/PATIENT/T1DUAL/{DICOM_anon/{InPhase,OutPhase},Ground}
    Train_Sets/CT/PATIENT/{DICOM_anon,Ground}

The paper's 20 MR volumes are one sequence of each patient; the literature uses T2-SPIR. Both phases of T1 share one set
of pictures. In CT only the liver is labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from sautomed.datasets.chaos.reader import DicomPngReader, Phase
from sautomed.datasets.dataset import Case, Dataset
from sautomed.datasets.names import files_in, first_root, folders_in
from sautomed.errors import NoCases, UnpairedFiles
from sautomed.errors.text import listed

LOOKS_FOR_MR = "Train_Sets/MR/PATIENT/{T2SPIR,T1DUAL}/{DICOM_anon,Ground}"
LOOKS_FOR_CT = "Train_Sets/CT/PATIENT/{DICOM_anon,Ground}"
LABELS: Mapping[int, str] = MappingProxyType({1: "liver", 2: "right_kidney", 3: "left_kidney", 4: "spleen"})
CT_LABELS: Mapping[int, str] = MappingProxyType({1: "liver"})
# Gray values above the first number, up to the second. The challenge writes 63, 126, 189 and 252.
# Source of the ranges: nnU-Net, Task037_038.
GRAYS: Mapping[int, tuple[int, int]] = MappingProxyType({1: (55, 70), 2: (110, 135), 3: (175, 200), 4: (240, 255)})
CT_GRAYS: Mapping[int, tuple[int, int]] = MappingProxyType({1: (0, 255)})
CHANNELS: Mapping[str, str] = MappingProxyType({"t2spir": "T2-SPIR", "t1in": "T1 in-phase", "t1out": "T1 out-phase"})
_PHASES: Mapping[str, tuple[Phase, str]] = MappingProxyType({"t1in": ("in", "InPhase"), "t1out": ("out", "OutPhase")})


def detect_mr(folder: Path) -> bool:
    """Return whether one of the usual roots has patients with a folder T2SPIR or T1DUAL."""
    return _root(folder, "MR") is not None


def detect_ct(folder: Path) -> bool:
    """Return whether one of the usual roots has patients with DICOM_anon directly in their folder."""
    return _root(folder, "CT") is not None


def mr_reader(layout: str, *sequences: str) -> Callable[[Path], Dataset]:
    """Return a function that reads some sequences of CHAOS MR as one dataset, the cases of a patient as one group.

    Args:
        layout: The key of `DATASETS`.
        sequences: Keys of `CHANNELS`.
    Returns:
        A function of the folder. It raises NoCases if no patient has such a sequence, and UnpairedFiles if some cases
        have label pictures and others have none.
    """

    def read(folder: Path) -> Dataset:
        root = _root(folder, "MR") or folder
        cases: list[Case] = []
        phases: dict[str, Phase] = {}
        for patient in folders_in(root):
            for sequence in sequences:
                series, phase = _series(patient, sequence)
                if series is not None:
                    case_id = patient.name if len(sequences) == 1 else f"{patient.name}_{sequence}"
                    cases.append(Case(case_id, series, _pictures(patient, sequence), patient.name))
                    phases |= {case_id: phase} if phase is not None else {}
        _require_cases(cases, root, sequences)
        channel = CHANNELS[sequences[0]] if len(sequences) == 1 else "MR"
        reader = DicomPngReader(GRAYS, LABELS, phases)
        return _require_paired(
            Dataset(folder, f"CHAOS {channel}", channel, dict(LABELS), tuple(cases), layout, reader), root
        )

    return read


def read_ct(folder: Path) -> Dataset:
    """Read CHAOS CT. Raises NoCases or UnpairedFiles as `mr_reader`."""
    root = _root(folder, "CT") or folder
    places = [place for place in folders_in(root) if _is_ct(place)]
    cases = [Case(place.name, place / "DICOM_anon", _with_pictures([place / "Ground"]), place.name) for place in places]
    _require_cases(cases, root, ["CT"])
    reader = DicomPngReader(CT_GRAYS, CT_LABELS)
    return _require_paired(Dataset(folder, "CHAOS CT", "CT", dict(CT_LABELS), tuple(cases), "chaos-ct", reader), root)


def _root(folder: Path, modality: Literal["MR", "CT"]) -> Path | None:
    is_patient = _is_mr if modality == "MR" else _is_ct
    below = ("", modality, f"Train_Sets/{modality}", f"CHAOS_Train_Sets/Train_Sets/{modality}")
    return first_root(folder, below, lambda root: any(is_patient(place) for place in folders_in(root)))


def _is_mr(place: Path) -> bool:
    return (place / "T2SPIR").is_dir() or (place / "T1DUAL").is_dir()


def _is_ct(place: Path) -> bool:
    return (place / "DICOM_anon").is_dir() and not _is_mr(place.parent) and not _is_mr(place.parent.parent)


def _series(patient: Path, sequence: str) -> tuple[Path | None, Phase | None]:
    """Return the folder of a sequence, and the phase to read if the folder holds both."""
    if sequence == "t2spir":
        return _first_folder([patient / "T2SPIR" / "DICOM_anon", patient / "T2SPIR"]), None
    dual, (phase, name) = patient / "T1DUAL", _PHASES[sequence]
    own = _first_folder([dual / "DICOM_anon" / name, dual / name / "DICOM_anon", dual / name])
    if own is not None:
        return own, None
    return _first_folder([dual / "DICOM_anon", dual]), phase


def _pictures(patient: Path, sequence: str) -> Path | None:
    if sequence == "t2spir":
        return _with_pictures([patient / "T2SPIR" / "Ground"])
    dual, (_, name) = patient / "T1DUAL", _PHASES[sequence]
    return _with_pictures(
        [dual / "Ground", dual / name / "Ground", dual / "Ground" / name, dual / "InPhase" / "Ground"]
    )


def _first_folder(places: Iterable[Path]) -> Path | None:
    return next((place for place in places if place.is_dir()), None)


def _with_pictures(places: Iterable[Path]) -> Path | None:
    return next((place for place in places if files_in(place, ".png")), None)


def _require_cases(cases: list[Case], root: Path, sequences: Iterable[str]) -> None:
    if not cases:
        raise NoCases(
            f"has no cases: no patient has {' or '.join(sequences)}.",
            where=root,
            cure="Put the patients' folders of the challenge's Train_Sets there, or choose another layout of CHAOS "
            "with --layout.",
        )


def _require_paired(dataset: Dataset, root: Path) -> Dataset:
    """Return the dataset if all of its cases have label pictures, or none has; else raise UnpairedFiles."""
    without = [case.id for case in dataset.cases if case.label is None]
    if 0 < len(without) < len(dataset.cases):
        raise UnpairedFiles(
            f"{len(without)} of {len(dataset.cases)} cases have no label pictures in Ground: {listed(without)}.",
            where=root,
            cure="Put their PNG files back, or take the patients out.",
            result=dataset,
        )
    return dataset
