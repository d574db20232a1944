"""Check that the cases of a fold show every class."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from sautomed.errors import ClassMissing
from sautomed.errors.text import listed
from sautomed.training.prepare import PreparedCase

log = logging.getLogger(__name__)


def require_classes(
    train: Sequence[PreparedCase], val: Sequence[PreparedCase], labels: Mapping[int, str], fold: str
) -> None:
    """Refuse to train a class that no training case shows; warn of classes that validation lacks, and of empty maps.

    Args:
        train: Cases to train on.
        val: Cases to validate with; may be empty.
        labels: Name of each label, in ascending order of its value.
        fold: As the user names it.
    Raises:
        ClassMissing: A class has no voxel in any training case.
    """
    shown = {case.id: np.asarray(case.presence.any(0)) for case in (*train, *val)}
    names = [f"{value} {name}" for value, name in sorted(labels.items())]
    missing, unscored = (_lacking([shown[case.id] for case in cases], names) for cases in (train, val))
    if missing:
        raise ClassMissing(
            f"fold {fold} cannot be trained: {', '.join(missing)} "
            f"{'has' if len(missing) == 1 else 'have'} no voxel in its {len(train)} training cases "
            f"({listed(case.id for case in train)}).",
            where="training split",
            cure=_cure(missing, [shown[case.id] for case in val], names),
        )
    if unscored:
        log.warning("fold %s: no validation case shows %s, so its score leaves them out.", fold, ", ".join(unscored))
    for case_id, classes in shown.items():
        if not classes.any():
            log.warning("case %s: its label map is empty; it is taken for a scan that shows no structure.", case_id)


def _lacking(presence: Sequence[np.ndarray], names: Sequence[str]) -> list[str]:
    """Return the classes that none of the cases shows; none without cases."""
    if not presence:
        return []
    return [name for name, found in zip(names, np.any(presence, axis=0), strict=True) if not found]


def _cure(lacking: Sequence[str], val: Sequence[np.ndarray], names: Sequence[str]) -> str:
    if val and set(lacking) - set(_lacking(val, names)):
        return (
            "Only validation cases show it: use another fold, -f all, or another -o with other folds, by --seed or by "
            "a splits_final.json in it."
        )
    options = " ".join(f"--ignore {name.split()[0]}" for name in lacking)
    return (
        f"Leave out what is missing with {options}, correct the label maps, or, if it is only a few pixels large, "
        "raise data.image_size."
    )
