"""Measure how well a model knows where it is wrong: the DSC that is predicted from a result, against the true one.

    python benchmarks/confidence.py DATASET MODEL_FOLD_0 MODEL_FOLD_1 ... [--rows FILE]
    python benchmarks/confidence.py --rows FILE

Each model is a model folder of one fold. The cases of the data set that it was not trained on are segmented, in both
orders of the slices, and compared with the truth. `--rows` keeps the signals of every organ, and beside them those of
every slice (FILE.slices.csv); without models they are read from there, and nothing is segmented.

Every predictor but the shipped one is a ridge regression of the logit of the DSC on standardised features. All are
fitted on the other folds, or, with one fold alone, on the other cases; "one fold" is fitted on each fold alone, as at
the end of a training, and predicts the others. AURC is
the area under the curve of risk (1 - DSC) over coverage: the mean risk of the organs that are kept when those that are
predicted to be worst are set aside one after the other. Alarms are predictions below 0.8. Intervals are 95 %, by
bootstrap over cases. Organs without a mask are counted and left out: there a missing mask is the alarm.
"""

import argparse
import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import spearmanr

import sautomed
from bench import machine, print_table
from sautomed.datasets import read_dataset
from sautomed.evaluation import dice
from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.predictor import clipped_logit, fit_predictor
from sautomed.inference.confidence.review import LOW_DSC, LOW_SLICE, case_confidence
from sautomed.inference.confidence.shape import organ_sizes
from sautomed.inference.model import with_walk
from sautomed.inference.segmenting import SegmentedSlice, label_map_of
from sautomed.scans.volume import LabelMap

OTHER_WALK = {"mid_to_ends": "end_to_end", "end_to_end": "mid_to_ends"}
SLICE_SIGNALS = ("soft_dice", "mean_margin", "box_iou", "jump_mm", "presence")
WRONG_SLICE = 0.7  # DSC
RESAMPLES = 1000
RIDGE = 1.0
Row = dict[str, Any]
Feature = Callable[[Row], float]
Fit = Callable[[Sequence[Row]], Callable[[Row], float]]


def logit_of(name: str) -> Feature:
    """Return the feature that is the logit of a signal between 0 and 1."""
    return lambda signals: float(clipped_logit(signals.get(name, math.nan)))


def plain(name: str) -> Feature:
    """Return the feature that is a signal as it is."""
    return lambda signals: signals.get(name, math.nan)


def size_of(name: str) -> Feature:
    """Return the feature that is a signal without its sign."""
    return lambda signals: abs(signals.get(name, math.nan))


TRIED: dict[str, Feature] = {
    "soft_dice": logit_of("soft_dice"),
    "soft_dice_low": logit_of("soft_dice_low"),
    "margin": logit_of("margin"),
    "presence": logit_of("presence"),
    "box_iou": logit_of("box_iou"),
    "jump_mm": plain("jump_mm"),
    "volume_z": size_of("volume_z"),
    "extent_z": size_of("extent_z"),
    "pieces": lambda signals: math.log(signals.get("pieces", math.nan)),
    "stray": plain("stray"),
    "walk_dice": logit_of("walk_dice"),
}
SETS: dict[str, tuple[str, ...]] = {
    "softmax margin alone": ("margin",),
    "volume alone": ("volume_z",),
    "agreement of two walks alone": ("walk_dice",),
    "soft Dice alone": ("soft_dice",),
    **{f"soft Dice, {name}": ("soft_dice", name) for name in TRIED if name != "soft_dice"},
    "all but the second walk": tuple(name for name in TRIED if name != "walk_dice"),
    "all": tuple(TRIED),
}


# --- rows ---


def rows_of_models(dataset_folder: Path, folders: Sequence[Path]) -> tuple[list[Row], list[Row]]:
    """Segment the cases that each model was not trained on; return a row per organ, and per organ and slice."""
    dataset, organs, slices = read_dataset(dataset_folder), list[Row](), list[Row]()
    truths: dict[str, LabelMap] = {}
    for folder in folders:
        model = sautomed.load(folder, "cpu")
        assert model.folder is not None, "a model that was loaded lies in a folder"
        metrics = json.loads((model.folder / "metrics.json").read_text(encoding="utf-8"))
        plane = model.settings.data.plane
        for case in dataset.cases:
            truths[case.id] = dataset.load(case, plane)[1]
        trained = [organ_sizes(truths[name]) for name in metrics["train_cases"]]
        for case in dataset.cases:
            if case.id in metrics["train_cases"]:
                continue
            head: Row = {"model": str(folder), "fold": str(metrics["fold"]), "case": case.id}
            volume, truth = model.read(case.image), truths[case.id]
            collector = SignalCollector(model.labels)
            presence: dict[int, np.ndarray | None] = {}

            def take(
                part: SegmentedSlice,
                collector: SignalCollector = collector,
                presence: dict[int, np.ndarray | None] = presence,
            ) -> None:
                collector.add(part)
                presence[part.index] = part.presence

            found = label_map_of(model.slices(volume), volume, model.labels, take)
            other = with_walk(model, OTHER_WALK[model.settings.segment.walk]).segment(volume)
            sure_of = case_confidence(found, collector, trained, None)
            for k, (value, organ) in enumerate(sorted(model.labels.items())):
                here, true = found.array == value, truth.array == value
                row = {"dsc": dice(here, true), "walk_dice": dice(here, other.array == value)}
                row["flagged"] = float(any(note.startswith(f"{organ}: ") for note in sure_of.review))
                organs.append({**head, "organ": organ, **row, **sure_of.signals.get(organ, {})})
                for t, part in collector.slices().items():
                    if part.pixels[k]:
                        sure = {name: getattr(part, name)[k] for name in SLICE_SIGNALS[:-1]}
                        present = presence[t]
                        sure["presence"] = math.nan if present is None else present[k]
                        slices.append({**head, "organ": organ, "slice": t, "dsc": dice(here[t], true[t]), **sure})
            print(
                f"{folder} {case.id}: DSC", *(f"{row['dsc']:.3f}" for row in organs[-len(model.labels) :]), flush=True
            )
    return organs, slices


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV; a number that is missing is left empty."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Read what `write_rows` wrote."""
    with path.open(newline="", encoding="utf-8") as stream:
        words = ("model", "fold", "case", "organ")
        return [
            {name: value if name in words else float(value or "nan") for name, value in row.items()}
            for row in csv.DictReader(stream)
        ]


# --- predictors and their scores ---


def fit_shipped(rows: Sequence[Row]) -> Callable[[Row], float]:
    """Fit the predictor of the package."""
    predictor = fit_predictor(rows, [row["dsc"] for row in rows], len({row["case"] for row in rows}))
    assert predictor is not None, "rows of organs without a mask were left out"

    def predict(row: Row) -> float:
        dsc = predictor.predict(row)
        return math.nan if dsc is None else dsc

    return predict


def ridge_of(names: Sequence[str]) -> Fit:
    """Return how to fit a ridge regression on features; without any it predicts the mean."""

    def fit(rows: Sequence[Row]) -> Callable[[Row], float]:
        table = np.array([[TRIED[name](row) for name in names] for row in rows], float)
        target = clipped_logit(np.array([row["dsc"] for row in rows]))
        mean, sd = np.nanmean(table, 0), np.nanstd(table, 0)
        sd[~(sd > 1e-6)] = 1.0
        standard = np.nan_to_num((table - mean) / sd)  # an unknown signal counts as average
        gram = standard.T @ standard + RIDGE * np.eye(len(names))
        weights = np.linalg.solve(gram, standard.T @ (target - target.mean()))

        def predict(row: Row) -> float:
            here = np.nan_to_num((np.array([TRIED[name](row) for name in names], float) - mean) / sd)
            return float(expit(here @ weights + target.mean()))

        return predict

    return fit


def predict_left_out(rows: Sequence[Row], fit: Fit) -> np.ndarray:
    """Return the DSC of each row as predicted by what was fitted on the rows of other folds, or of other cases."""
    by = "fold" if len({row["fold"] for row in rows}) > 1 else "case"
    fitted = {group: fit([row for row in rows if row[by] != group]) for group in {row[by] for row in rows}}
    return np.array([fitted[row[by]](row) for row in rows])


def predict_from_one_fold(rows: Sequence[Row], fit: Fit) -> tuple[list[Row], np.ndarray]:
    """Return the rows once for each of the other folds, and the DSC as predicted by what was fitted on that alone."""
    others, predicted = list[Row](), list[float]()
    for fold in sorted({row["fold"] for row in rows}):
        predict = fit([row for row in rows if row["fold"] == fold])
        others += [row for row in rows if row["fold"] != fold]
        predicted += [predict(row) for row in rows if row["fold"] != fold]
    return others, np.array(predicted)


def aurc(dsc: np.ndarray, predicted: np.ndarray) -> float:
    """Return the area under the risk-coverage curve."""
    risk = 1 - dsc[np.argsort(-predicted, kind="stable")]
    return float((risk.cumsum() / np.arange(1, len(risk) + 1)).mean())


def mean_error(dsc: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.abs(dsc - predicted).mean())


def sensitivity(dsc: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the organs with a DSC below 0.8 for which one below 0.8 is predicted."""
    low = dsc < LOW_DSC
    return float((predicted[low] < LOW_DSC).mean()) if low.any() else math.nan


def false_alarms(dsc: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the other organs for which one below 0.8 is predicted."""
    return float((predicted[dsc >= LOW_DSC] < LOW_DSC).mean()) if (dsc >= LOW_DSC).any() else math.nan


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "AURC": aurc,
    "mean error": mean_error,
    "sensitivity": sensitivity,
    "false alarms": false_alarms,
}


def with_interval(score: Callable[[np.ndarray, np.ndarray], float], rows: Sequence[Row], predicted: np.ndarray) -> str:
    """Return a score with its interval over cases; all organs of a case are drawn together."""
    dsc, cases = np.array([row["dsc"] for row in rows], float), np.array([row["case"] for row in rows])
    members = [np.flatnonzero(cases == case) for case in sorted(set(cases.tolist()))]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        index = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(score(dsc[index], predicted[index]))
    value = score(dsc, predicted)
    if math.isnan(value):
        return "-"
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{value:.3f} ({low:.3f} - {high:.3f})"


def fits() -> dict[str, Fit]:
    """Return how to fit each predictor."""
    return {
        "shipped": fit_shipped,
        **{name: ridge_of(names) for name, names in SETS.items()},
        "mean DSC of the others": ridge_of(()),
    }


def scores_of(name: str, rows: Sequence[Row], predicted: np.ndarray) -> tuple[str, ...]:
    return name, *(with_interval(score, rows, predicted) for score in SCORES.values())


def predictor_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return a row of scores for every predictor."""
    dsc = np.array([row["dsc"] for row in rows], float)
    table = [scores_of(name, rows, predict_left_out(rows, fit)) for name, fit in fits().items()]
    table.append(scores_of("soft Dice as it is", rows, np.array([row["soft_dice"] for row in rows], float)))
    return [*table, ("the true DSC", f"{aurc(dsc, dsc):.3f}", "", "", "")]


def one_fold_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return a row of scores for every predictor that is fitted on one fold alone."""
    return [scores_of(name, *predict_from_one_fold(rows, fit)) for name, fit in fits().items()]


def coverage_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the mean DSC of what is kept of the organs, by the shipped predictor and by others."""
    dsc = np.array([row["dsc"] for row in rows], float)
    table = list[tuple[str, ...]]()
    for name, fit in fits().items():
        if name == "shipped" or name.endswith("alone"):
            order = np.argsort(-predict_left_out(rows, fit), kind="stable")
            kept = [dsc[order[: max(1, round(share * len(dsc)))]].mean() for share in (1, 0.9, 0.8, 0.7, 0.5)]
            table.append((name, *(f"{value:.3f}" for value in kept)))
    return table


def slice_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return how well each signal of a slice tells its DSC: rank correlation, and the area under the ROC curve."""
    dsc = np.array([row["dsc"] for row in rows], float)
    table = list[tuple[str, ...]]()
    for name in SLICE_SIGNALS:
        value = np.array([row[name] for row in rows], float) * (-1 if name == "jump_mm" else 1)
        known = np.isfinite(value)
        low, high = value[known & (dsc < WRONG_SLICE)], value[known & (dsc >= WRONG_SLICE)]
        pairs = (low[:, None] < high).mean() + (low[:, None] == high).mean() / 2 if low.size and high.size else math.nan
        rank = spearmanr(value[known], dsc[known]).statistic if known.sum() > 2 else math.nan
        table.append((name, str(known.sum()), f"{rank:.3f}", f"{pairs:.3f}"))
    return table


def print_study(organs: Sequence[Row], slices: Sequence[Row]) -> None:
    """Print all tables."""
    slices = [row for row in slices if np.isfinite(row["dsc"])]  # a mask of the network's pixels alone has none
    rows = [row for row in organs if np.isfinite(row["dsc"]) and np.isfinite(row.get("soft_dice", math.nan))]
    cases, low = len({row["case"] for row in rows}), sum(row["dsc"] < LOW_DSC for row in rows)
    missing = sum(not np.isfinite(row.get("soft_dice", math.nan)) and row["dsc"] == 0 for row in organs)
    print(f"\n{len(rows)} organs of {cases} cases; {low} have a DSC below {LOW_DSC}; {missing} more were missed.")
    signals = ("dsc", *TRIED)
    worst = sorted(rows, key=lambda row: row["dsc"])
    print_table(
        ("case", "organ", *signals),
        [(row["case"], row["organ"], *(f"{row.get(name, math.nan):.2f}" for name in signals)) for row in worst],
    )
    if cases < 2:
        print("\nOne case is too few to predict it from others.")
        return
    flagged = np.array([row.get("flagged", math.nan) for row in rows])
    right = np.array([row["dsc"] for row in rows]) >= LOW_DSC
    print(f"Flagged without a predicted DSC: {np.sum(flagged[~right]):.0f} of {np.sum(~right)} organs below {LOW_DSC}, "
          f"{np.sum(flagged[right]):.0f} of {np.sum(right)} others.")  # fmt: skip
    print_table(("predictor", *SCORES), predictor_table(rows))
    if len({row["fold"] for row in rows}) > 1:
        print_table(("predictor from one fold", *SCORES), one_fold_table(rows))
    print_table(("mean DSC of the surest", "100 %", "90 %", "80 %", "70 %", "50 %"), coverage_table(rows))
    print_table(("signal of a slice", "slices", "rank correlation", f"AUC of DSC < {WRONG_SLICE}"), slice_table(slices))
    sure, dsc = (np.array([row[name] for row in slices], float) for name in ("soft_dice", "dsc"))
    wrong = dsc < WRONG_SLICE
    print(f"Slices below {LOW_SLICE}: {(sure[wrong] < LOW_SLICE).mean():.0%} of those with a DSC below {WRONG_SLICE}, "
          f"{(sure[~wrong] < LOW_SLICE).mean():.1%} of the others.")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if not chosen.models and chosen.rows is None:
        parser.error("give DATASET and models, or --rows FILE")
    slices_file = None if chosen.rows is None else chosen.rows.with_name(f"{chosen.rows.name}.slices.csv")
    print(machine())
    if chosen.models:
        organs, slices = rows_of_models(chosen.dataset, chosen.models)
        if chosen.rows is not None and slices_file is not None:
            write_rows(chosen.rows, organs)
            write_rows(slices_file, slices)
    else:
        assert slices_file is not None, "without models there are rows"
        organs, slices = read_rows(chosen.rows), read_rows(slices_file)
    print_study(organs, slices)


if __name__ == "__main__":
    main()
