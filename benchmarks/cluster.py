"""Segment a cohort on two nodes of Ray and of Slurm, lose one of them midway, and compare with a plain run.

    python benchmarks/cluster.py                      12 phantoms: minutes on 2 cores
    python benchmarks/cluster.py --cases 200          at size
    python benchmarks/cluster.py --engines ray        without Slurm, which needs root and Debian's slurm-wlm and munge

Both clusters run on this machine, with two nodes of a core each. Of Ray's, the second node is killed (SIGKILL) when a
third of the cases are done; of Slurm's array of two tasks, the second task is, and is put back into the queue. Every
mask must be whole and equal, bit for bit, to that of a plain run of one thread, every case once in summary.json, and no
temporary file left. Exit 1 if not.

The overhead is the engine's time beyond the work: with Ray measured on cases that sleep for 2 s, once the workers have
started, and what starting takes once for each worker; with an array the start of its tasks, which is all there is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from bench import in_fresh_process, machine, print_table
from cohort.on_ray import run_on_ray, seconds_beyond
from cohort.on_slurm import missing, run_on_slurm
from cohort.outputs import Tally, bytes_of, cases_of, compare, run_plain, seconds_of, write_cohort

WORK_S = 2.0  # ours: a case of a fast model
GOAL = 0.05  # ours: the engine's share of it


def main() -> int:
    options = _options()
    print(f"{options.cases} phantoms, model phantom-ct\n{machine()}\n")
    with tempfile.TemporaryDirectory(prefix="cohort-") as place:
        folder = Path(place)
        scans = write_cohort(folder / "phantoms", options.cases)
        cases, plain = cases_of(scans), folder / "plain"
        plain_s = run_plain(scans, plain)
        _print_case(plain, cases, scans)
        rows, tallies = [], []
        for name in options.engines:
            output = folder / name
            took_s = _run(name, scans, output, len(cases), folder)
            tallies.append(compare(plain, output, cases))
            rows.append(_row(name, took_s, tallies[-1]))
        head = ["engine", "seconds", "whole", "equal to plain", "in summary", "twice", "temporary files"]
        print()
        print_table(head, [_row("plain", plain_s, compare(plain, plain, cases)), *rows])
    if "ray" in options.engines:
        _print_overhead(options.sleeping)
    return 0 if all(tally.is_perfect for tally in tallies) else 1


def _run(name: str, scans: Path, output: Path, cases: int, folder: Path) -> float:
    third = max(cases // 3, 1)
    if name == "ray":
        return run_on_ray(scans, output, cases, third)
    if lacking := missing():
        sys.exit(f"Slurm lacks {', '.join(lacking)}: apt-get install slurm-wlm munge, or --engines ray")
    return run_on_slurm(scans, output, cases, third, folder / "slurm-cluster")


def _row(name: str, took_s: float, tally: Tally) -> list[str]:
    counts = (tally.whole, tally.equal, tally.listed, tally.twice, tally.leftovers)
    return [name, f"{took_s:.1f}", *map(str, counts)]


def _print_case(plain: Path, cases: list[str], scans: Path) -> None:
    seconds, sizes = seconds_of(plain, cases), bytes_of(plain, cases)
    scan = mean((scans / f"{case}_0000.nii.gz").stat().st_size for case in cases)
    kinds = ", ".join(f"{ending} {size / 1e3:.0f} kB" for ending, size in sizes.items())
    print(f"a case: {median(seconds):.2f} s (median by CASE.json); scan {scan / 1e3:.0f} kB; {kinds}")


def _print_overhead(cases: int) -> None:
    began = time.perf_counter()
    beyond_s = in_fresh_process(seconds_beyond, cases, WORK_S, _cores())  # whether Ray uses tokens is kept for good
    took_s = time.perf_counter() - began
    verdict = "met" if beyond_s <= GOAL * WORK_S else "missed"
    print(
        f"\nRay, {cases} cases that sleep {WORK_S:g} s, on {_cores()} cores: {1000 * beyond_s:.1f} ms a case, "
        f"{100 * beyond_s / WORK_S:.2f} % (goal: at most {100 * GOAL:.0f} %; {verdict}); "
        f"starting and ending {took_s - cases * (WORK_S + beyond_s) / _cores():.1f} s in all"
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12, help="phantoms; default 12")
    parser.add_argument("--engines", nargs="+", choices=("ray", "slurm"), default=["ray", "slurm"])
    parser.add_argument("--sleeping", type=int, default=40, help="cases that sleep, for the overhead; default 40")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
