"""The verb `study`: systems x data sets x folds x settings x seeds, each combination a run in a folder of its own.

Several processes, on one GPU each, may share one folder: each takes runs that no other process has.

study_file.py      what a study compares, read from YAML and checked
plan.py            the list of its runs
resume.py          whether a study may be resumed after its file has changed
folder.py          its paths, the runs that have ended, locks between processes
data.py            its data sets and folds
loop.py            all runs, in one process or several
one_run.py         one run: train, segment, score, write run.json
system_adapter.py  what a study asks of every system: train and segment
own_adapter.py     the systems of this package
nnunet_adapter.py  nnU-Net
nnunet/            nnU-Net's own package on our folds, in a process of its own
costs.py           parameters, floating point operations, machine
report/            tables, tests, pictures and the page of a study
"""

from sautomed.study.loop import StudyCallbacks, StudyOutcome, StudyRequest, run_study
from sautomed.study.plan import PlannedRun, plan_runs
from sautomed.study.study_file import StudyFile, read_study_file
from sautomed.study.system_adapter import Listener

__all__ = [
    "Listener",
    "PlannedRun",
    "StudyCallbacks",
    "StudyFile",
    "StudyOutcome",
    "StudyRequest",
    "plan_runs",
    "read_study_file",
    "run_study",
]
