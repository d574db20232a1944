"""The verb `study`: systems x data sets x folds x settings x seeds, each a run in a folder of its own.

Several processes, on as many GPUs as there are, may work through one folder: each takes runs that nobody else is at.
"""

from sautomed.study.plan import PlannedRun, StudyFile, plan_runs, read_study_file
from sautomed.study.runner import Outcome, StudyCallbacks, StudyRequest, run_study
from sautomed.study.systems import Listener

__all__ = [
    "Listener",
    "Outcome",
    "PlannedRun",
    "StudyCallbacks",
    "StudyFile",
    "StudyRequest",
    "plan_runs",
    "read_study_file",
    "run_study",
]
