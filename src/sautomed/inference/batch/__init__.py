"""The verb `segment`: scans in, label maps on the scans' own grids out.

places.py       where scans come from and results go to: paths, and URLs
remote.py       list, fetch and send files of URLs, by fsspec
json_files.py   JSON objects in files at any place
scans.py        find the scans at a path; remote_scans.py below a URL; scan_list.py in a list
label_maps.py   which files are no scans
shards.py       parts of a cohort, for processes that know nothing of each other; shard_files.py which cases each has
jobs.py         the jobs of a run and their options
planning.py     plan the outputs of each scan; refusals.py refuses to replace files
staging.py      local places for the remote files of a job
preflight.py    check every scan before the first one is segmented
backoff.py      use fewer slices at a time, then the CPU, if memory runs out
case_report.py  CASE.json; done.py compares it when a run resumes; report_parts.py reads parts of it
failure_log.py  failures.json, and CASE.json of a case that failed
summary.py      summary.json: the cases by need of review
run_files.py    the files that all cases of a run share
run.py          segment one scan after the other
one_case.py     one scan by itself, for engines that spread cases over processes
merge.py        one summary of all shards; used_models.py the models of its cases
"""

from typing import TYPE_CHECKING

from sautomed.lazy import lazy_names

if TYPE_CHECKING:
    from sautomed.inference.batch.failure_log import Failure
    from sautomed.inference.batch.jobs import Job, Plan, SegmentOptions
    from sautomed.inference.batch.planning import plan_jobs, plan_list
    from sautomed.inference.batch.run import BatchOutcome, run_plan
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
    "plan_list",
    "run_plan",
]
# Torch comes with the first use, which `merge` has none of.
__getattr__ = lazy_names(
    __name__,
    {
        "BatchOutcome": "run",
        "Failure": "failure_log",
        "Job": "jobs",
        "Plan": "jobs",
        "Scan": "scans",
        "SegmentOptions": "jobs",
        "find_scans": "scans",
        "plan_jobs": "planning",
        "plan_list": "planning",
        "run_plan": "run",
    },
)
