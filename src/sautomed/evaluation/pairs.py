"""Find the prediction and the reference of each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sautomed.datasets import Dataset, read_dataset, without_ending
from sautomed.datasets.layouts import AUTO
from sautomed.datasets.names import files_in
from sautomed.errors import MissingFile, NoCases, UnknownLayout, UnpairedFiles
from sautomed.errors.text import listed
from sautomed.scans.formats import FILE_ENDINGS, LABEL_FILE_ENDINGS

_DICOM_ENDINGS = tuple(ending for ending in LABEL_FILE_ENDINGS if ending not in FILE_ENDINGS)


@dataclass(frozen=True)
class Pairs:
    """Files of the cases to evaluate.

    Args:
        files: (prediction, reference) by case id.
        unmatched: Predictions without a reference.
        unpredicted: References without a prediction.
    """

    files: Mapping[str, tuple[Path, Path]]
    unmatched: tuple[str, ...] = ()
    unpredicted: tuple[str, ...] = ()


def pair_files(predictions: Path, references: Path, dataset: Dataset | None) -> Pairs:
    """Pair predictions and references by case id; two single files form a pair whatever their names.

    Args:
        predictions: A folder or a file.
        references: Likewise.
        dataset: The dataset in `references`, if it is one; then its label maps are the references.
    Raises:
        MissingFile, NoCases: There is nothing to pair.
        UnpairedFiles: Two files of a folder have the same case id.
    """
    predicted = _cases_in(predictions)
    expected = _cases_in(references) if dataset is None else _cases_of(dataset)
    if predictions.is_file() and references.is_file():
        case, reference = next(iter(expected.items()))
        return Pairs({case: (predictions, reference)})
    both = sorted(set(predicted) & set(expected))
    if not both:
        raise NoCases(
            f"has no prediction for any of the {len(expected)} references in {references}.",
            where=predictions,
            cure=f"Name them as the references: {listed(f'{case}.nii.gz' for case in sorted(expected))}.",
        )
    return Pairs(
        files={case: (predicted[case], expected[case]) for case in both},
        unmatched=tuple(sorted(set(predicted) - set(expected))),
        # With a single prediction, the other references are not meant.
        unpredicted=() if predictions.is_file() else tuple(sorted(set(expected) - set(predicted))),
    )


def dataset_at(references: Path, layout: str) -> Dataset | None:
    """Read the dataset in a folder of references; return None for a file, or a folder of label maps.

    Raises:
        NoCases: The folder has neither label maps nor a known layout.
        DataError: As `read_dataset`, if a layout is given.
    """
    if layout != AUTO:
        return read_dataset(references, layout)
    if not references.is_dir() or files_in(references, *LABEL_FILE_ENDINGS):
        return None
    try:
        return read_dataset(references)
    except UnknownLayout as error:
        raise NoCases(
            f"has no cases: it holds no label map, and it {error.fault}", where=references, cure=error.cure
        ) from error


def _cases_in(path: Path) -> dict[str, Path]:
    """Return the label maps of a folder, or a single one, by case id."""
    if not path.exists():
        raise MissingFile("does not exist.", where=path, cure="Check the path, also for typing errors.")
    if path.is_file():
        return {without_ending(path.name): path}
    cases: dict[str, Path] = {}
    files = files_in(path, *FILE_ENDINGS)
    known = {without_ending(file.name) for file in files}
    # A DICOM segmentation beside another label map of the case is the same result once more.
    segmentations = [file for file in files_in(path, *_DICOM_ENDINGS) if without_ending(file.name) not in known]
    for file in sorted((*files, *segmentations)):
        case = without_ending(file.name)
        if case in cases:
            raise UnpairedFiles(
                f"{cases[case].name} and {file.name} are the same case.", where=path, cure="Remove one of them."
            )
        cases[case] = file
    if not cases:
        raise NoCases(
            f"has no cases: it holds no label map ({', '.join(LABEL_FILE_ENDINGS)}).",
            where=path,
            cure="Name the folder with the label maps.",
        )
    return cases


def _cases_of(dataset: Dataset) -> dict[str, Path]:
    cases = {case.id: case.label for case in dataset.cases if case.label is not None}
    if not cases:
        raise NoCases(
            "has no label map to compare with.",
            where=dataset.folder,
            cure="Give a dataset with label maps.",
        )
    return cases
