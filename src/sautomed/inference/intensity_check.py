"""Recognise scans whose intensities are far from those that a model was trained on, and name the likely cause.

A crop, a small patient, padding around a circular field of view and metal change how many voxels have an intensity,
but not which intensities the tissues have. So only limits are compared that hold for any part of a usual scan. In CT a
unit is expected. In other modalities only what remains after the network's own scaling counts: never a factor.

To add a fault, put a row into the table of its modality. The thresholds are ours; the tests hold them against crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sautomed.inference.intensity import Modality
from sautomed.inference.percentiles import IntensityPercentiles, describe_range

Trained = Sequence[IntensityPercentiles]

FREE_SHIFT_HU = 100.0  # a CT scan that is shifted by less is never reported
BRIGHTER_HU = 500.0  # crops around bone or contrast are up to 300 HU brighter than a whole scan, at 95 %
DARKER_HU = 200.0  # crops that show tissue at all are up to 100 HU darker, at 99.5 %
SPAN_RATIO = 50.0  # crops of one organ span a thirtieth of a whole scan
LIKE_HU = 300.0  # how near to the training scans one gets by undoing the fault that is named
NO_TISSUE_HU = (-800.0, -200.0)  # between lung and fat; few voxels of CT are there, but many of other scans
BONE_HU = 20.0  # from the 95th to the 99.5th percentile of CT; 150 to 400 in whole scans
SHAPE_SHIFT = 0.5  # of the span; crops of MR scans differ by up to 0.4 from a single training scan
AIR_HU = (-3100.0, -500.0)  # 0.5 % of a CT scan: air, or the padding of scanners, -1024 to -3024
TISSUE_HU = (50.0, 4000.0)  # 99.5 % of a CT scan: from soft tissue to metal


@dataclass(frozen=True)
class Fault:
    """A fault that changes the intensities of a scan.

    Args:
        explains: Whether a scan looks as if it had this fault, for a model that was trained on such scans.
        cause: Completes "The scan looks ...".
        cure: A whole sentence.
    """

    explains: Callable[[IntensityPercentiles, Trained], bool]
    cause: str
    cure: str


def intensity_warning(found: IntensityPercentiles, trained: Trained, modality: Modality) -> str | None:
    """Return what is wrong with a scan's intensities, the likely cause and the cure; None if nothing is.

    Args:
        found: Of the scan.
        trained: Of each training scan; if there is none, nothing is wrong.
    """
    if not trained:
        return None
    if modality == "ct":
        fault = _first(CT_FAULTS, found, trained) if unlike_ct(found, trained) else None
    else:
        fault = _first(OTHER_FAULTS, found, trained)
    if fault is None:
        return None
    return (
        f"the intensities are unlike those that the model was trained on: {describe_range([found])}, in training "
        f"{describe_range(trained)}. The scan looks {fault.cause}, so the result is probably wrong. {fault.cure}"
    )


def _first(faults: Sequence[Fault], found: IntensityPercentiles, trained: Trained) -> Fault | None:
    return next((fault for fault in faults if fault.explains(found, trained)), None)


def unlike_ct(found: IntensityPercentiles, trained: Trained) -> bool:
    """Return whether no part of a scan like the training scans could have these intensities."""
    too_bright = found.p95 > max(case.p95 for case in trained) + BRIGHTER_HU
    too_dark = found.p99_5 < min(case.p95 for case in trained) - DARKER_HU
    # Below 0 HU are air, fat and noise, and so a part of every crop.
    nothing_dark = found.least >= 0 and found.p0_5 > max(case.p0_5 for case in trained) + FREE_SHIFT_HU
    too_wide = found.span > max(case.span for case in trained) * SPAN_RATIO
    return too_bright or too_dark or nothing_dark or too_wide or _is_narrow(found, trained)


def _is_narrow(found: IntensityPercentiles, trained: Trained) -> bool:
    return found.span < min(case.span for case in trained) / SPAN_RATIO


def _like_ct(found: IntensityPercentiles, trained: Trained) -> bool:
    """Return whether a scan is as bright as the training scans: the sign that a fault has been undone."""
    tissue = [case.p95 for case in trained]
    is_as_bright = max(0, min(tissue) - LIKE_HU) < found.p95 <= max(tissue) + LIKE_HU
    low, high = NO_TISSUE_HU
    is_tissue = not any(low < value < high for value in (found.p25, found.p50, found.p75))
    return is_as_bright and is_tissue and not unlike_ct(found, trained)


def _offset(offset_hu: float) -> Callable[[IntensityPercentiles, Trained], bool]:
    return lambda found, trained: _like_ct(found.plus(-offset_hu), trained)


def _is_one_value(found: IntensityPercentiles, trained: Trained) -> bool:
    return found.span == 0 and all(case.span > 0 for case in trained)


def _is_in_another_unit(found: IntensityPercentiles, trained: Trained) -> bool:
    """Return whether not even the training scans are in Hounsfield units."""
    return not all(case.p0_5 < 0 < case.p99_5 and case.span > FREE_SHIFT_HU for case in trained)


def _is_air(found: IntensityPercentiles, trained: Trained) -> bool:
    return found.p0_5 >= AIR_HU[0] and found.p99_5 < min(case.p95 for case in trained) - DARKER_HU


def _is_inverted_ct(found: IntensityPercentiles, trained: Trained) -> bool:
    """Return whether -x is like the training scans, or c - x whose least value is -1024.

    In CT the brightest voxels, of bone, are few. The negative of MR ends in its background, which is large.
    """
    negatives = [found.subtracted_from(total) for total in (0.0, found.most - 1024)]
    return any(_like_ct(negative, trained) and negative.p99_5 > negative.p95 + BONE_HU for negative in negatives)


def _has_hounsfield_units(found: IntensityPercentiles, trained: Trained) -> bool:
    is_ct = AIR_HU[0] <= found.p0_5 <= AIR_HU[1] and TISSUE_HU[0] <= found.p99_5 <= TISSUE_HU[1]
    return is_ct and all(case.p0_5 >= 0 for case in trained)


def _is_mostly_bright(found: IntensityPercentiles, trained: Trained) -> bool:
    if not found.span:
        return False
    usual = max((case.scaled(case.p50) for case in trained if case.span), default=1.0)
    return found.scaled(found.p50) > usual + SHAPE_SHIFT


_HU = "Give the scan in Hounsfield units"
_ONE_VALUE = Fault(
    _is_one_value,
    "empty: nearly all of its voxels have one value",
    "Look at the scan in a viewer, and export it again.",
)
_RESCALED = f"{_HU}: convert the DICOM series again, with its rescale slope and intercept applied."

# The first that explains a scan is named; the last explains any.
CT_FAULTS = (
    _ONE_VALUE,
    Fault(
        _is_in_another_unit,
        "like one in another unit",
        "Give the scan in the unit of the training scans, which are not in Hounsfield units.",
    ),
    Fault(
        lambda found, _: found.least >= 0 and found.most <= 1,
        "like a window that was scaled to 0 to 1",
        f"{_HU}, as it was before that scaling; the model applies its own window.",
    ),
    Fault(
        lambda found, trained: _like_ct(found.times(1000), trained),
        "like Hounsfield units divided by 1000",
        f"{_HU}: multiply it by 1000.",
    ),
    Fault(
        lambda found, _: found.least >= 0 and 200 < found.most <= 255,
        "like a window that was stored as 0 to 255, or like no CT",
        f"{_HU}, as it was before that; the model applies its own window.",
    ),
    Fault(_offset(1024), "like Hounsfield units + 1024, stored without the rescale intercept", _RESCALED),
    Fault(_offset(-1024), "like Hounsfield units - 1024, with the rescale intercept applied twice", _RESCALED),
    Fault(_offset(8192), "like Hounsfield units + 8192, stored without the rescale intercept", _RESCALED),
    Fault(_offset(32768), "like Hounsfield units + 32768, stored without the rescale intercept", _RESCALED),
    Fault(
        _is_air,
        "like air alone: nothing is as bright as tissue",
        f"Look at the scan in a viewer. If it shows a patient: {_RESCALED[0].lower()}{_RESCALED[1:]}",
    ),
    Fault(_is_inverted_ct, "inverted: air is bright", f"{_HU}, in which air is -1000."),
    Fault(
        _is_narrow,
        "normalised, for example by mean and standard deviation, or like no CT",
        f"{_HU}, as it was before that; the model applies its own window.",
    ),
    Fault(
        lambda found, _: found.least >= 0,
        "like MR, PET or another scan that is no CT, or like CT in another unit: nothing is below 0",
        f"Use a model for that kind of scan. If it is CT: {_HU[0].lower()}{_HU[1:]}.",
    ),
    Fault(lambda found, _: True, "like no CT in Hounsfield units", _RESCALED),
)

OTHER_FAULTS = (
    _ONE_VALUE,
    Fault(
        _has_hounsfield_units,
        "like CT in Hounsfield units, which this model has never seen",
        "Use a model that was trained on CT.",
    ),
    Fault(
        _is_mostly_bright,
        "inverted, or like another kind of scan: most of it is bright, which was dark in training",
        "Give the scan as the scanner stored it, not inverted, or use a model for that kind of scan.",
    ),
)
