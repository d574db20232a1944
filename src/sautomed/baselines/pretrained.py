"""Pretrained weights of a baseline against what its network needs: every difference is listed.

A network that is half random looks like one that learned badly.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sautomed.errors import WeightsNotFound, WrongWeights

Shape = tuple[int, ...]

_LISTED = 24  # entries of one kind that a message names before it only counts


def weights_file(weights: str, cure: str) -> Path:
    """The file that a setting names; raises WeightsNotFound if there is none."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsNotFound("there is no such file.", where=weights, cure=cure)
    return path


def check_entries(found: Mapping[str, Shape], wanted: Mapping[str, Shape], where: Path, cure: str) -> None:
    """Hold the names and shapes in a file against those that the network needs.

    Args:
        found: Without the entries of which nothing is needed.
    Raises:
        WrongWeights: Entries are missing, unexpected or misshapen.
    """
    misshapen = [
        f"{name} is {found[name]}, not {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    refuse_any(
        where,
        cure,
        missing=[name for name in wanted if name not in found],
        unexpected=[name for name in found if name not in wanted],
        misshapen=misshapen,
    )


def refuse_any(where: Path, cure: str, **kinds: Iterable[str]) -> None:
    """Raises WrongWeights if any kind of fault has entries."""
    faults = [_listing(kind.replace("_", " "), list(entries)) for kind, entries in kinds.items()]
    if listed := " ".join(filter(None, faults)):
        raise WrongWeights(f"the file does not fit the network. {listed}", where=where, cure=cure)


def _listing(kind: str, entries: list[str]) -> str:
    if not entries:
        return ""
    more = f", and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
    return f"{len(entries)} {kind}: {', '.join(entries[:_LISTED])}{more}."
