"""The verb `segment`: scans in, label maps on the scans' own grids out.

model.py        a trained model that takes scans
scans.py        which scans a path means
jobs.py         where their outputs go, and what stands in the way
memory.py       how much memory a scan will need, before it is read
backoff.py      what is tried when memory runs out all the same
case_report.py  what CASE.json says, and whether a case needs no more work
preflight.py    what is found out of every scan before the first one is segmented
batch.py        the run over the jobs
"""

from sautomed.segment.batch import Failure, Outcome, run_plan
from sautomed.segment.jobs import Job, Plan, SegmentOptions, plan_jobs
from sautomed.segment.model import Model, load, model_folder, with_chunk, with_walk
from sautomed.segment.scans import Scan, find_scans

__all__ = [
    "Failure",
    "Job",
    "Model",
    "Outcome",
    "Plan",
    "Scan",
    "SegmentOptions",
    "find_scans",
    "load",
    "model_folder",
    "plan_jobs",
    "run_plan",
    "with_chunk",
    "with_walk",
]
