"""The verb `segment`: scans in, label maps on the scans' own grids out.

scans.py        find the scans at a path
jobs.py         plan their outputs, and refuse to replace files
preflight.py    check every scan before the first one is segmented
backoff.py      use fewer slices at a time, then the CPU, if memory runs out
case_report.py  write CASE.json, and compare it when a run resumes
summary.py      write summary.json: the cases by need of review
run.py          segment one scan after the other
one_case.py     segment one scan by itself, for engines that spread cases over processes
"""

from sautomed.inference.batch.jobs import Job, Plan, SegmentOptions, plan_jobs
from sautomed.inference.batch.run import BatchOutcome, Failure, run_plan
from sautomed.inference.batch.scans import Scan, find_scans

__all__ = [
    "BatchOutcome",
    "Failure",
    "Job",
    "Plan",
    "Scan",
    "SegmentOptions",
    "find_scans",
    "plan_jobs",
    "run_plan",
]
