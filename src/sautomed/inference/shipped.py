"""Models that come with the package: the name of one stands for its folder wherever a model is given."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).with_name("shipped_models")
PHANTOM_CT = "phantom-ct"  # trained on phantoms alone, to try things on


def shipped_names() -> list[str]:
    """Return the names of all models that come with the package, sorted."""
    return sorted(found.parent.name for found in SHIPPED.glob("*/config.json"))


def shipped_or_itself(path: Path) -> Path:
    """Return the folder of the shipped model that a path names; the path itself if it exists or names none."""
    named = not path.exists() and len(path.parts) == 1 and path.name in shipped_names()
    return SHIPPED / path if named else path
