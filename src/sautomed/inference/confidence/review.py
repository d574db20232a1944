"""What a person should look at in a result, and how sure each organ is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from sautomed.inference.confidence.assess import Reference, case_signals
from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.predictor import DscPredictor
from sautomed.inference.confidence.shape import sizes_of
from sautomed.inference.confidence.values import SliceSignals
from sautomed.scans.volume import LabelMap

LOW_DSC = 0.8  # ours
LOW_SLICE = 0.7  # ours, of a slice's confidence; docs/confidence.md has what it finds
FEWEST_SLICES = 2  # ours: one slice alone is mostly the thin end of an organ
SMALLEST_SHARE = 0.03  # ours, of an organ's pixels: without it nearly every organ would be named for its thin ends
ODD_Z = 3.0  # ours: standard deviations of a size from the training cases
LARGE_STRAY = 0.1  # ours: share of an organ outside of its largest piece


@dataclass(frozen=True)
class CaseConfidence:
    """How sure a result is.

    Attributes:
        predicted_dsc: Of each organ; None where nothing predicts it. One that is missing, but was in every training
            case, has 0: its DSC if the scan shows it.
        signals: Of each organ that was found.
        review: What a person should look at, one sentence each.
        cases: That the predictor was fitted on; None without one.
        calibrated: Whether those are enough; None without a predictor.
    """

    predicted_dsc: dict[str, float | None] = field(default_factory=dict)
    signals: dict[str, dict[str, float]] = field(default_factory=dict)
    review: tuple[str, ...] = ()
    cases: int | None = None
    calibrated: bool | None = None

    @property
    def least_sure(self) -> float | None:
        """The smallest predicted DSC; None if there is none."""
        return min((dsc for dsc in self.predicted_dsc.values() if dsc is not None), default=None)


def case_confidence(
    labels: LabelMap, collector: SignalCollector, trained: Reference, predictor: DscPredictor | None
) -> CaseConfidence:
    """Return how sure a result is.

    Args:
        labels: On the native grid.
        collector: Of the same case.
        trained: Sizes of the organs in the training cases.
        predictor: Of the DSC; None: no DSC is predicted.
    """
    signals = case_signals(labels, collector, trained)
    predicted: dict[str, float | None] = dict.fromkeys(collector.organs)
    if predictor is not None:
        predicted |= {organ: predictor.predict(found) for organ, found in signals.items()}
        predicted |= {organ: 0.0 for organ in collector.organs if _is_missed(organ, signals, trained)}
    basis = None if predictor is None or predictor.is_calibrated else predictor.basis
    slices, review = collector.slices(), list[str]()
    for k, organ in enumerate(collector.organs):
        notes: list[str] = []
        if organ in signals:
            notes += _notes_of_organ(predicted[organ], basis, signals[organ])
            notes += _notes_of_size(organ, signals[organ], trained)
            notes += _notes_of_slices(slices, k)
        elif _is_missed(organ, signals, trained):
            notes.append(f"not found, but in all {len(trained)} training cases")
        review += [f"{organ}: {note}" for note in notes]
    if not signals:
        review.append("no organ was found")
    cases, calibrated = (None, None) if predictor is None else (predictor.cases, predictor.is_calibrated)
    return CaseConfidence(predicted, signals, tuple(review), cases, calibrated)


def _is_missed(organ: str, signals: Mapping[str, object], trained: Reference) -> bool:
    return organ not in signals and bool(trained) and all(organ in case for case in trained)


def _notes_of_organ(predicted_dsc: float | None, basis: str | None, found: Mapping[str, float]) -> Iterator[str]:
    if predicted_dsc is not None and predicted_dsc < LOW_DSC:
        yield f"predicted DSC {predicted_dsc:.2f}" + (f" (from {basis})" if basis else "")
    if found["stray"] > LARGE_STRAY:
        yield f"{found['pieces']:.0f} pieces, {100 * found['stray']:.0f} % of it outside of the largest"


def _notes_of_size(organ: str, found: Mapping[str, float], trained: Reference) -> Iterator[str]:
    sizes = sizes_of(organ, trained)
    volume, extent = found["volume_ml"], found["extent_mm"]
    for name, z, value, unit, others in (
        ("volume", found.get("volume_z", 0.0), volume, "ml", [size.volume_ml for size in sizes]),
        ("extent", found.get("extent_z", 0.0), extent, "mm", [size.extent_mm for size in sizes]),
    ):
        if abs(z) > ODD_Z:
            yield f"{name} {value:.3g} {unit}, in training {min(others):.3g} to {max(others):.3g} {unit}"


def _notes_of_slices(slices: Mapping[int, SliceSignals], k: int) -> Iterator[str]:
    """Name the runs of consecutive slices whose confidence is low, and which are no mere end of the organ."""
    whole = sum(signals.pixels[k] for signals in slices.values())
    low = [t for t, signals in slices.items() if signals.confidence[k] < LOW_SLICE]  # nan is not low
    for _, run in groupby(enumerate(low), lambda item: item[1] - item[0]):
        indices = [t for _, t in run]
        share = sum(slices[t].pixels[k] for t in indices) / whole
        if len(indices) >= FEWEST_SLICES and share >= SMALLEST_SHARE:
            lowest = min(float(slices[t].confidence[k]) for t in indices)
            yield f"slices {indices[0]}-{indices[-1]}: confidence down to {lowest:.2f}"
