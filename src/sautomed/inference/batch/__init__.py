"""The verb `segment`: scans in, label maps on the scans' own grids out.

scans.py        which scans a path means
jobs.py         where their outputs go, and what stands in the way
backoff.py      what is tried when memory runs out all the same
case_report.py  what CASE.json says, and whether a case needs no more work
preflight.py    what is found out of every scan before the first one is segmented
run.py          the run over the jobs
"""

from sautomed.inference.batch.jobs import Job, Plan, SegmentOptions, plan_jobs
from sautomed.inference.batch.run import Failure, Outcome, run_plan
from sautomed.inference.batch.scans import Scan, find_scans

__all__ = [
    "Failure",
    "Job",
    "Outcome",
    "Plan",
    "Scan",
    "SegmentOptions",
    "find_scans",
    "plan_jobs",
    "run_plan",
]
