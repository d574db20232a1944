"""Score predicted label maps against references on the native grid; write scores.csv and summary.json.

Reads two folders (or two files) and writes one. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sautomed.datasets import Dataset
from sautomed.datasets.layouts import AUTO
from sautomed.datasets.rules import NO_RULES, LabelRules, cure_of_unknown_values, with_rules
from sautomed.errors import DataError, SomeCasesFailed, TargetExists
from sautomed.evaluation.conventions import Convention, convention_named
from sautomed.evaluation.measure import DEFAULT_TOLERANCE_MM, Comparison, compare_labels
from sautomed.evaluation.metrics import OURS
from sautomed.evaluation.names import (
    Names,
    labels_to_score,
    names_by_case,
    names_of_folder,
    warn_of_labels_never_predicted,
)
from sautomed.evaluation.pairs import Pairs, dataset_at, pair_files
from sautomed.evaluation.scores import Score, Status, Summary, is_score_summary, summarise, write_scores, write_summary
from sautomed.scans.files import require_writable
from sautomed.scans.grid import Plane
from sautomed.scans.partial import on_common_grid
from sautomed.scans.read import read_labels, refuse_unknown_values
from sautomed.scans.volume import LabelMap, require_same_grid

OnCase = Callable[[int, int, str], None]
RulesFor = Callable[[Mapping[int, str], Iterable[str]], LabelRules]
_PLANE: Plane = "axial"  # any plane, if it is the same for predictions and references


def no_rules(labels: Mapping[int, str], in_files: Iterable[str]) -> LabelRules:
    """Return no rules, whatever the labels."""
    return NO_RULES


@dataclass(frozen=True)
class _Scoring:
    """Settings of an evaluation that hold for all its cases.

    Args:
        convention: Convention of the scores.
        tolerance_mm: Tolerance of the NSD.
        labels: Name of each label without the background; empty to score every value that occurs.
        rules: Rules for values and names of the files.
        dataset: Dataset with the references, under the rules; None if they are plain files.
        expected: Names that the files of the references have for their labels, by case id.
        predicted: Those of the predictions.
    """

    convention: Convention
    tolerance_mm: float
    labels: dict[int, str]
    rules: LabelRules
    dataset: Dataset | None
    expected: Mapping[str, Names]
    predicted: Mapping[str, Names]

    @property
    def scored(self) -> dict[int, str]:
        """Name of each label that is left by the rules."""
        return self.rules.remaining(self.labels)


def evaluate(
    predictions: str | Path,
    references: str | Path,
    output: str | Path,
    *,
    layout: str = AUTO,
    names: dict[int, str] | None = None,
    rules: RulesFor = no_rules,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    convention: str = OURS,
    seed: int = 0,
    on_case: OnCase | None = None,
) -> Summary:
    """Score every case that has a prediction and a reference; write `scores.csv` and `summary.json`.

    Cases with only one of them are not scored, but listed in the summary.

    Args:
        predictions: A folder of CASE.nii.gz (or any other format that can be read), or one file.
        references: Likewise; two single files form a pair whatever their names. Or a dataset in any layout: then its
            label maps, by case id.
        output: The folder to write to; files of an earlier evaluation are replaced.
        layout: Layout of the references' dataset, a key of `DATASETS`; "auto" detects it, and accepts a folder of label
            maps as well.
        names: Name of each label without the background, of files without names of their own. By default those of the
            references: of their dataset, their
            headers, a CASE.json or dataset.json beside them; else those of the predictions, likewise. Without any,
            every value that occurs is a class. Files that name their labels are compared by name.
        rules: Returns rules for labels of the files, given the names of the labels and those in the files.
        tolerance_mm: Tolerance of the NSD.
        convention: Convention of the scores, a key of `CONVENTIONS`.
        seed: Seed of the bootstrap.
        on_case: Called after each case with (done, total, id).
    Raises:
        UsageError: There is no such convention.
        TargetExists: `output` holds a summary.json that no evaluation wrote, such as that of `segment`.
        UnwritableTarget: Nothing can be written to `output`; raised, like TargetExists, before any case is scored.
        MissingFile, NoCases, UnpairedFiles, BadDatasetJson, UnknownLayout, UnmatchedNames: There is nothing to score,
            or it is ambiguous.
        DataError: Of two single files, one cannot be used.
        SomeCasesFailed: All others are scored and written; `result` is their Summary.
    """
    predictions, references, output = Path(predictions), Path(references), Path(output)
    chosen = convention_named(convention)
    require_writable(output)
    _refuse_foreign_summary(output / "summary.json")
    dataset = dataset_at(references, layout)
    pairs = pair_files(predictions, references, dataset)
    scoring = _prepare(pairs, predictions, references, dataset, names, rules, chosen, tolerance_mm)
    warn_of_labels_never_predicted(scoring.scored, scoring.predicted, predictions)
    scores: list[Score] = []
    failed: dict[str, str] = {}
    for done, (case, (prediction, reference)) in enumerate(pairs.files.items(), start=1):
        try:
            scores += _score_case(case, prediction, reference, scoring)
        except DataError as error:
            if references.is_file():
                raise
            failed[case] = f"{error.id} {error}"
            scores += _failed_rows(case, scoring)
        if on_case is not None:
            on_case(done, len(pairs.files), case)
    summary = summarise(
        scores,
        seed=seed,
        failed=failed,
        files=pairs.files,
        unmatched=pairs.unmatched,
        unpredicted=pairs.unpredicted,
        convention=convention,
    )
    write_scores(summary, output / "scores.csv")
    write_summary(summary, output / "summary.json", tolerance_mm=tolerance_mm, seed=seed)
    _raise_if_failed(summary, output)
    return summary


def _refuse_foreign_summary(path: Path) -> None:
    """Raise TargetExists for a summary.json of another command or program, which the scores would replace."""
    if path.exists() and not is_score_summary(path):
        raise TargetExists(
            "exists already and was not written by an evaluation.",
            where=path,
            cure="Give another folder with -o, such as one for scores alone.",
        )


def _prepare(
    pairs: Pairs,
    predictions: Path,
    references: Path,
    dataset: Dataset | None,
    names: dict[int, str] | None,
    rules: RulesFor,
    convention: Convention,
    tolerance_mm: float,
) -> _Scoring:
    """Decide what all cases share."""
    of_predictions, of_references = (
        names_of_folder(path) if names is None else names for path in (predictions, references)
    )
    predicted = names_by_case({case: prediction for case, (prediction, _) in pairs.files.items()}, of_predictions)
    expected = names_by_case({case: reference for case, (_, reference) in pairs.files.items()}, of_references)
    labels = names
    if labels is None:
        labels = labels_to_score(pairs, of_references, expected, predicted) if dataset is None else dict(dataset.labels)
    in_files = {name for own in (*expected.values(), *predicted.values()) for name in own.values()}
    chosen = rules(labels, in_files)
    ruled = None if dataset is None else with_rules(dataset, chosen)
    return _Scoring(convention, tolerance_mm, labels, chosen, ruled, expected, predicted)


def _read(path: Path, own: Names, scoring: _Scoring) -> LabelMap:
    """Read a label map and give its values the numbers of the labels to score, by the names that it has for them."""
    labels = read_labels(path, _PLANE)
    if not scoring.labels:
        return scoring.rules.map_values(labels)
    return scoring.rules.apply(replace(labels, names=labels.names | dict(own)), scoring.labels, path)


def _read_reference(case: str, path: Path, scoring: _Scoring) -> LabelMap:
    if scoring.dataset is None:
        return _read(path, scoring.expected[case], scoring)
    return scoring.dataset.read_label(next(item for item in scoring.dataset.cases if item.id == case), _PLANE)


def _refuse_unknown(labels: LabelMap, case: str, path: Path, scoring: _Scoring) -> None:
    """Raise UnknownLabels if there are labels to score, and a value is none of them."""
    named = replace(labels, names=scoring.scored)
    unknown = named.unknown_values() if scoring.labels else {}
    if unknown:
        declared_in = "the labels to score" if scoring.dataset is None else scoring.dataset.declared_in
        cure = cure_of_unknown_values(unknown, declared_in)
        refuse_unknown_values(named, where=f"case {case} ({path})", declared_in=declared_in, cure=cure)


def _score_case(case: str, prediction: Path, reference: Path, scoring: _Scoring) -> list[Score]:
    """Return one row per class."""
    expected = _read_reference(case, reference, scoring)
    _refuse_unknown(expected, case, reference, scoring)
    predicted = _read(prediction, scoring.predicted[case], scoring)
    _refuse_unknown(predicted, case, prediction, scoring)
    predicted, expected = on_common_grid(predicted, expected)
    require_same_grid(
        predicted, expected, first_name="prediction", second_name="reference", where=f"case {case} ({prediction})"
    )
    names = scoring.scored or {**expected.names, **predicted.names}
    voxel_ml = abs(float(np.linalg.det(expected.affine[:3, :3]))) / 1000
    pairs = compare_labels(predicted.array, expected.array, sorted(names), expected.spacing_mm)
    return [_score(case, k, names[k], pair, expected.array.size, voxel_ml, scoring) for k, pair in pairs]


def _score(
    case: str, class_id: int, name: str, pair: Comparison, grid_voxels: int, voxel_ml: float, scoring: _Scoring
) -> Score:
    both = int(np.count_nonzero(pair.prediction & pair.reference))
    only_predicted = int(np.count_nonzero(pair.prediction)) - both
    only_reference = int(np.count_nonzero(pair.reference)) - both
    return Score(
        case=case,
        class_id=class_id,
        class_name=name,
        status=_status(predicted=both + only_predicted > 0, expected=both + only_reference > 0),
        values=scoring.convention.scores(pair, scoring.tolerance_mm),
        tolerance_mm=scoring.tolerance_mm,
        both=both,
        only_predicted=only_predicted,
        only_reference=only_reference,
        neither=grid_voxels - both - only_predicted - only_reference,
        voxel_ml=voxel_ml,
    )


def _status(*, predicted: bool, expected: bool) -> Status:
    if predicted and expected:
        return "scored"
    if expected:
        return "missed"
    return "spurious" if predicted else "absent"


def _failed_rows(case: str, scoring: _Scoring) -> list[Score]:
    """Return rows without values, so that a failed case appears in the table."""
    missing = dict.fromkeys(scoring.convention.metrics, math.nan)
    return [Score(case, k, name, "failed", missing, scoring.tolerance_mm) for k, name in scoring.scored.items()]


def _raise_if_failed(summary: Summary, output: Path) -> None:
    if not summary.failed:
        return
    reasons = "\n".join(f"  {case}: {reason}" for case, reason in summary.failed.items())
    raise SomeCasesFailed(
        f"{len(summary.failed)} of {len(summary.files)} cases could not be scored and are in no mean; the others are "
        f"in {output}:\n{reasons}\n",
        cure="Correct these and evaluate again.",
        result=summary,
    )
