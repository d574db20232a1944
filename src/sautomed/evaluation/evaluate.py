"""Predicted label maps against reference ones, on the native grid: scores.csv and summary.json.

The third verb: reads two folders (or two files) and writes one. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np

from sautomed.datasets import Dataset, read_dataset, read_label_names, without_ending
from sautomed.datasets.layouts import AUTO
from sautomed.datasets.names import FILE_ENDINGS, files_in, listed
from sautomed.errors import (
    BadDatasetJson,
    DataError,
    MissingFile,
    NoCases,
    SomeCasesFailed,
    UnknownLayout,
    UnpairedFiles,
)
from sautomed.evaluation import DEFAULT_TOLERANCE_MM, OURS, Comparison, Convention, compare_labels, convention_named
from sautomed.evaluation.scores import RESAMPLES, Score, Status, Summary, summarise, write_scores, write_summary
from sautomed.scans.files import require_writable
from sautomed.scans.grid import Plane
from sautomed.scans.read import read_labels, refuse_unknown_values
from sautomed.scans.volume import LabelMap, require_same_grid

OnCase = Callable[[int, int, str], None]
_PLANE: Plane = "axial"  # any does: it only has to be the same one for both


def evaluate(
    predictions: str | Path,
    references: str | Path,
    output: str | Path,
    *,
    layout: str = AUTO,
    names: dict[int, str] | None = None,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    convention: str = OURS,
    seed: int = 0,
    on_case: OnCase | None = None,
) -> Summary:
    """Score every case that has a prediction and a reference; write `scores.csv` and `summary.json`.

    What only one side has is scored nowhere and listed in the summary.

    Args:
        predictions: A folder of CASE.nii.gz (or any other format that is read), or one file.
        references: Likewise; two files belong together whatever their names. Or a dataset in any layout: then its label
            maps, by case id.
        output: The folder to write to; files of an earlier evaluation are replaced.
        layout: Of the references' dataset, a key of `DATASETS`; "auto" finds it out, and takes a folder of label maps
            as it is.
        names: Name of each label without the background. By default those of the references' dataset, or from a
            dataset.json in or beside either folder; without one, every value that occurs is a class of its own.
        tolerance_mm: Of the NSD.
        convention: How scores are counted, a key of `CONVENTIONS`.
        seed: Of the bootstrap.
        on_case: Called after each case with (done, total, id).
    Raises:
        UsageError: There is no such convention.
        UnwritableTarget: Nothing can be written to `output`; found before the work.
        MissingFile, NoCases, UnpairedFiles, BadDatasetJson, UnknownLayout: There is nothing to score, or it is
            ambiguous.
        DataError: Of two single files, one cannot be used.
        SomeCasesFailed: All others are scored and written; `result` is their Summary.
    """
    predictions, references, output = Path(predictions), Path(references), Path(output)
    counting = convention_named(convention)
    require_writable(output)
    dataset = _dataset_at(references, layout)
    files, unmatched, unpredicted = _pair(predictions, references, dataset)
    names = names if names is not None else _names(predictions, references, dataset)
    scores: list[Score] = []
    failed: dict[str, str] = {}
    for done, (case, (prediction, reference)) in enumerate(files.items(), start=1):
        try:
            expected = _read_reference(case, reference, names, dataset)
            scores += _score_case(case, prediction, expected, names, counting, tolerance_mm)
        except DataError as error:
            if references.is_file():
                raise
            failed[case] = str(error)
            scores += _failed_rows(case, names or {}, counting, tolerance_mm)
        if on_case is not None:
            on_case(done, len(files), case)
    summary = summarise(
        scores,
        seed=seed,
        failed=failed,
        files=files,
        unmatched=unmatched,
        unpredicted=unpredicted,
        convention=convention,
    )
    write_scores(summary, output / "scores.csv")
    write_summary(
        summary, output / "summary.json", tolerance_mm=tolerance_mm, bootstrap={"resamples": RESAMPLES, "seed": seed}
    )
    _report_failures(summary, len(files), output)
    return summary


def _dataset_at(references: Path, layout: str) -> Dataset | None:
    """The dataset that the references are; None for label maps as they are."""
    if layout != AUTO:
        return read_dataset(references, layout)
    if not references.is_dir() or files_in(references, *FILE_ENDINGS):
        return None
    try:
        return read_dataset(references)
    except UnknownLayout as error:
        raise NoCases(
            f"has no cases: it holds no label map, and it {error.fault}", where=references, cure=error.cure
        ) from error


def _names(predictions: Path, references: Path, dataset: Dataset | None) -> dict[int, str] | None:
    if dataset is None:
        return find_label_names(predictions, references)
    _refuse_other_names({dataset.folder: dataset.labels, predictions: find_label_names(predictions) or dataset.labels})
    return dict(dataset.labels)


def find_label_names(*places: Path) -> dict[int, str] | None:
    """The labels of the dataset.json in or beside the places, None without one.

    Raises:
        BadDatasetJson: One cannot be read, or two disagree on what a value means.
    """
    found: dict[Path, dict[int, str]] = {}
    for place in places:
        folder = place.parent if place.is_file() else place
        near = next((f / "dataset.json" for f in (folder, folder.parent) if (f / "dataset.json").is_file()), None)
        if near is not None:
            found[near] = read_label_names(near)
    _refuse_other_names(found)
    return next(iter(found.values()), None)


def _refuse_other_names(found: dict[Path, dict[int, str]]) -> None:
    paths = list(found)
    for path in paths[1:]:
        if found[path] != found[paths[0]]:
            raise BadDatasetJson(
                f"names other labels ({_listed(found[path])}) than {paths[0]} ({_listed(found[paths[0]])}), "
                "so scores would compare different organs.",
                where=path,
                cure="Evaluate predictions with the references of their own dataset.",
            )


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{value} {name}" for value, name in names.items())


def _pair(
    predictions: Path, references: Path, dataset: Dataset | None
) -> tuple[dict[str, tuple[Path, Path]], list[str], list[str]]:
    """(prediction, reference) by case id; predictions without a reference; references without a prediction."""
    predicted = _cases_in(predictions)
    wanted = _cases_in(references) if dataset is None else _cases_of(dataset)
    every = sorted(wanted)
    if predictions.is_file() and references.is_file():
        case, reference = next(iter(wanted.items()))
        return {case: (predictions, reference)}, [], []
    if predictions.is_file():
        wanted = {case: path for case, path in wanted.items() if case in predicted}
    both = sorted(set(predicted) & set(wanted))
    if not both:
        raise NoCases(
            f"has no prediction for any of the {len(every)} references in {references}.",
            where=predictions,
            cure=f"Name them as the references: {listed(f'{case}.nii.gz' for case in every)}.",
        )
    files = {case: (predicted[case], wanted[case]) for case in both}
    return files, sorted(set(predicted) - set(wanted)), sorted(set(wanted) - set(predicted))


def _cases_in(place: Path) -> dict[str, Path]:
    """Label maps by case id."""
    if not place.exists():
        raise MissingFile("does not exist.", where=place, cure="Check the path, also for typing errors.")
    if place.is_file():
        return {without_ending(place.name): place}
    cases: dict[str, Path] = {}
    for path in files_in(place, *FILE_ENDINGS):
        case = without_ending(path.name)
        if case in cases:
            raise UnpairedFiles(
                f"{cases[case].name} and {path.name} are the same case.", where=place, cure="Take one of them out."
            )
        cases[case] = path
    if not cases:
        raise NoCases(
            f"has no cases: it holds no label map ({', '.join(FILE_ENDINGS)}).",
            where=place,
            cure="Name the folder with the label maps.",
        )
    return cases


def _cases_of(dataset: Dataset) -> dict[str, Path]:
    cases = {case.id: case.label for case in dataset.cases if case.label is not None}
    if not cases:
        raise NoCases(
            "has no label map to compare with.", where=dataset.folder, cure="Give a dataset whose cases are labelled."
        )
    return cases


def _read_reference(case: str, path: Path, names: dict[int, str] | None, dataset: Dataset | None) -> LabelMap:
    if dataset is None:
        return read_labels(path, _PLANE, names)
    labels = dataset.read_label(next(one for one in dataset.cases if one.id == case), _PLANE)
    refuse_unknown_values(labels, where=f"case {case} ({path})", declared_in=dataset.declared_in)
    return labels


def _score_case(
    case: str,
    prediction: Path,
    expected: LabelMap,
    names: dict[int, str] | None,
    convention: Convention,
    tolerance_mm: float,
) -> list[Score]:
    predicted = read_labels(prediction, _PLANE, names)
    require_same_grid(
        predicted, expected, first_name="prediction", second_name="reference", where=f"case {case} ({prediction})"
    )
    known = names if names is not None else {**expected.names, **predicted.names}
    voxel_ml = abs(float(np.linalg.det(expected.affine[:3, :3]))) / 1000
    compared = compare_labels(predicted.array, expected.array, sorted(known), expected.spacing_mm)
    return [
        Score(
            case=case,
            class_id=k,
            class_name=known[k],
            values={metric: score(measured, tolerance_mm) for metric, score in convention.metrics.items()},
            tolerance_mm=tolerance_mm,
            voxel_ml=voxel_ml,
            **_voxels(measured, expected.array.size),
        )
        for k, measured in compared
    ]


class _Counted(TypedDict):
    """Of one class in one case, by the names of `Score`."""

    status: Status
    both: int
    only_predicted: int
    only_reference: int
    neither: int


def _voxels(measured: Comparison, grid: int) -> _Counted:
    """How many voxels either mask, both and neither of them hold, of so many of the whole grid."""
    both = int(np.count_nonzero(measured.prediction & measured.reference))
    only_predicted = int(np.count_nonzero(measured.prediction)) - both
    only_reference = int(np.count_nonzero(measured.reference)) - both
    return {
        "status": _status(both + only_predicted, both + only_reference),
        "both": both,
        "only_predicted": only_predicted,
        "only_reference": only_reference,
        "neither": grid - both - only_predicted - only_reference,
    }


def _status(predicted: int, expected: int) -> Status:
    if predicted and expected:
        return "scored"
    if expected:
        return "missed"
    return "spurious" if predicted else "absent"


def _failed_rows(case: str, names: dict[int, str], convention: Convention, tolerance_mm: float) -> list[Score]:
    """Rows without values, so that a case that failed is seen in the table."""
    nothing = dict.fromkeys(convention.metrics, math.nan)
    return [Score(case, k, name, "failed", nothing, tolerance_mm) for k, name in names.items()]


def _report_failures(summary: Summary, total: int, output: Path) -> None:
    if not summary.failed:
        return
    listed = "\n".join(f"  {case}: {why}" for case, why in summary.failed.items())
    raise SomeCasesFailed(
        f"{len(summary.failed)} of {total} cases could not be scored and are in no mean; the others are in {output}:\n"
        f"{listed}\n",
        cure="Correct these and evaluate again.",
        result=summary,
    )
