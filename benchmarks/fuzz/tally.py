"""Counts of results, and their sums over the parts of a run."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.child import Report

COMPARED = "compared"  # what `readers.Reading.mask` says of a mask that was


@dataclass
class Tally:
    """Results of one format and one reader."""

    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    peak_mb: float = 0.0
    slowest_s: float = 0.0

    def add(self, report: Report) -> None:
        """Count one input."""
        self.inputs += 1
        self.seconds += report.seconds
        self.peak_mb, self.slowest_s = max(self.peak_mb, report.peak_mb), max(self.slowest_s, report.seconds)
        self.outcomes[report.outcome] += 1
        if report.mask:
            self.masks[report.mask] += 1
        if report.finding:
            self.findings[report.finding.name] += 1


Tallies = dict[str, dict[str, Tally]]  # by reader and format


@dataclass(frozen=True)
class Part:
    """Results of one run, or of several together."""

    seeds: tuple[int, ...]
    minutes: float
    tallies: Tallies

    @property
    def inputs(self) -> int:
        """Return the number of inputs that the first reader got."""
        return sum(tally.inputs for tally in next(iter(self.tallies.values())).values())


def part_file(folder: Path, seed: int) -> Path:
    """Return the file for the results of the part with that seed."""
    return folder / f"seed-{seed}.json"


def write_part(folder: Path, part: Part) -> None:
    """Write the results of one part."""
    folder.mkdir(parents=True, exist_ok=True)
    tallies = {reader: {name: vars(tally) for name, tally in found.items()} for reader, found in part.tallies.items()}
    content = {"seeds": part.seeds, "minutes": part.minutes, "tallies": tallies}
    part_file(folder, part.seeds[0]).write_text(json.dumps(content, indent=1))


def sum_of_parts(folder: Path) -> Part:
    """Read the results of all parts in a folder and add them up."""
    parts = [json.loads(path.read_text()) for path in sorted(folder.glob("seed-*.json"))]
    formats = list(dict.fromkeys(name for part in parts for found in part["tallies"].values() for name in found))
    tallies = {
        reader: {name: _sum(part["tallies"][reader].get(name) for part in parts) for name in formats}
        for reader in parts[0]["tallies"]
    }
    seeds = sorted(seed for part in parts for seed in part["seeds"])
    return Part(tuple(seeds), sum(part["minutes"] for part in parts), tallies)


def _sum(found: Iterable[dict[str, Any] | None]) -> Tally:
    """Add up the tallies of one format; None where a part left it out."""
    total = Tally()
    for one in found:
        if one is None:
            continue
        total.inputs += one["inputs"]
        total.seconds += one["seconds"]
        total.peak_mb, total.slowest_s = max(total.peak_mb, one["peak_mb"]), max(total.slowest_s, one["slowest_s"])
        for name in ("outcomes", "masks", "findings"):
            getattr(total, name).update(one[name])
    return total
