"""Checks of a pretrained file against what a network needs: every difference is listed.

A network with some random parts would only look like one that learned badly.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sautomed.errors import WeightsNotFound, WrongWeights
from sautomed.errors.text import listed

Shape = tuple[int, ...]

_MOST_NAMED = 24  # entries of one kind in a message


def find_weights_file(weights: str, cure: str) -> Path:
    """Return the path of the file that a setting names.

    Raises:
        WeightsNotFound: There is no such file.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsNotFound("there is no such file.", where=weights, cure=cure)
    return path


def check_entries(found: Mapping[str, Shape], wanted: Mapping[str, Shape], where: Path, cure: str) -> None:
    """Compare the names and shapes in a file with those that the network needs.

    Args:
        found: Without entries that the network does not use.
    Raises:
        WrongWeights: Entries are missing, unexpected or misshapen.
    """
    misshapen = [
        f"{name} is {found[name]}, not {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "misshapen": misshapen,
    }
    refuse_faults(faults, where, cure)


def refuse_faults(entries: Mapping[str, Sequence[str]], where: Path, cure: str) -> None:
    """Raise WrongWeights if there are faulty entries.

    Args:
        entries: By kind of fault, such as "missing".
    """
    faults = [f"{len(names)} {kind}: {listed(names, most=_MOST_NAMED)}." for kind, names in entries.items() if names]
    if faults:
        raise WrongWeights(f"the file does not fit the network. {' '.join(faults)}", where=where, cure=cure)
