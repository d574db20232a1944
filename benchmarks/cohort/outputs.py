"""A cohort of phantoms, the command that segments it, and the comparison of what two runs left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODEL = "phantom-ct"
SAUTOMED = (sys.executable, "-m", "sautomed")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
_COMPARED = (".nii.gz", ".prompts.json")  # CASE.json holds seconds and memory, which differ


@dataclass(frozen=True)
class Tally:
    """What a run left, beside the plain run."""

    cases: int
    whole: int  # CASE.json says done, and every file has the bytes that it lists
    equal: int  # masks and prompts are those of the plain run, bit for bit
    twice: int  # cases that summary.json lists more than once
    listed: int  # cases that summary.json lists
    leftovers: int  # hidden files

    @property
    def is_perfect(self) -> bool:
        return self.cases == self.whole == self.equal == self.listed and not self.twice and not self.leftovers


def write_cohort(folder: Path, count: int) -> Path:
    """Write phantoms and return the folder of their scans."""
    subprocess.run([*SAUTOMED, "-q", "phantom", "-o", str(folder), "-n", str(count)], check=True)
    return folder / "imagesTr"


def segment(scans: Path, output: Path, *options: str) -> list[str]:
    """Return the command that segments a cohort."""
    return [*SAUTOMED, "segment", "-i", str(scans), "-m", MODEL, "-o", str(output), "--device", "cpu", *options]


def run_plain(scans: Path, output: Path) -> float:
    """Segment the cohort in one process of one thread, and return the seconds."""
    began = time.perf_counter()
    subprocess.run([*segment(scans, output), "-q"], check=True, env=ONE_THREAD, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def done(output: Path) -> int:
    """Return how many cases have a CASE.json."""
    return sum(1 for path in output.glob("phantom_*.json") if not path.name.endswith(".prompts.json"))


def compare(plain: Path, output: Path, cases: Sequence[str]) -> Tally:
    """Check every case of a run against its own CASE.json and against the plain run."""
    summary = json.loads((output / "summary.json").read_text()) if (output / "summary.json").exists() else {}
    listed = Counter(row["case"] for row in summary.get("cases", ()))
    return Tally(
        cases=len(cases),
        whole=sum(_is_whole(output, case) for case in cases),
        equal=sum(_is_equal(plain, output, case) for case in cases),
        twice=sum(count > 1 for count in listed.values()),
        listed=len(listed),
        leftovers=sum(1 for path in output.rglob(".*") if path.is_file()),
    )


def cases_of(scans: Path) -> list[str]:
    """Return the names of the cases of a folder of scans."""
    return sorted(path.name.removesuffix("_0000.nii.gz") for path in scans.glob("*.nii.gz"))


def seconds_of(output: Path, cases: Sequence[str]) -> list[float]:
    """Return the seconds of each case, by its CASE.json."""
    return [sum(json.loads((output / f"{case}.json").read_text())["seconds"].values()) for case in cases]


def bytes_of(output: Path, cases: Sequence[str]) -> dict[str, float]:
    """Return the mean bytes of each kind of output of a case."""
    endings = (".nii.gz", ".prompts.json", ".json", ".png")
    return {ending: sum((output / f"{case}{ending}").stat().st_size for case in cases) / len(cases)
            for ending in endings}  # fmt: skip


def _is_whole(output: Path, case: str) -> bool:
    report = output / f"{case}.json"
    if not report.is_file():
        return False
    content = json.loads(report.read_text())
    files = content["outputs"]
    return content["status"] == "done" and bool(files) and all(
        _sha256(output / row["path"]) == row["sha256"] for row in files
    )  # fmt: skip


def _is_equal(plain: Path, output: Path, case: str) -> bool:
    return all(_sha256(plain / f"{case}{ending}") == _sha256(output / f"{case}{ending}") for ending in _COMPARED)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else f"no {path}"
