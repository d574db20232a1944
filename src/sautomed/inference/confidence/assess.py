"""The signals of a whole case: pooled over slices, with size and pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sautomed.inference.confidence.pooling import SignalCollector
from sautomed.inference.confidence.shape import OrganSize, organ_shapes, size_z, sizes_of
from sautomed.scans.volume import LabelMap

Reference = Sequence[Mapping[str, OrganSize]]  # of each training case, the organs that it shows


def case_signals(labels: LabelMap, collector: SignalCollector, trained: Reference) -> dict[str, dict[str, float]]:
    """Return the signals of each organ that was found, by name.

    Args:
        labels: On the native grid.
        collector: Of the same case.
        trained: Sizes of the training cases; without any, sizes are not compared.
    """
    pooled, signals = collector.pooled(), {}
    for organ, shape in organ_shapes(labels).items():
        z = size_z(shape.size, sizes_of(organ, trained))
        compared = {} if z is None else {"volume_z": z[0], "extent_z": z[1]}
        signals[organ] = {
            **pooled.get(organ, {}),
            **compared,
            "volume_ml": shape.size.volume_ml,
            "extent_mm": shape.size.extent_mm,
            "pieces": float(shape.pieces),
            "stray": shape.stray,
        }
    return signals
