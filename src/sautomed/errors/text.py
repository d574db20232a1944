"""Lists in messages."""

from collections.abc import Iterable, Mapping


def listed(items: Iterable[object], most: int = 8) -> str:
    """Return the first items separated by commas, and how many more there are."""
    names = [str(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def listed_labels(names: Mapping[int, str]) -> str:
    """Return label values with their names, such as "1 liver, 2 spleen"."""
    return ", ".join(f"{value} {name}" for value, name in names.items())
