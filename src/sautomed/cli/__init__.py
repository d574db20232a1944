"""The command line: parse, call one verb, show its progress, turn faults into exit codes.

Verbs are imported when they are called, so `--help` needs neither torch nor matplotlib.
"""

from sautomed.cli.app import app
from sautomed.cli.main import main, run, with_usable_paths
from sautomed.cli.model_commands import demo, evaluate, phantom, train
from sautomed.cli.scan_commands import convert, doctor, info, segment
from sautomed.cli.study_commands import report, study

# As `--help` lists them.
for command in (demo, train, segment, evaluate, convert, info, doctor, phantom, study, report):
    app.command()(with_usable_paths(command))

__all__ = ["app", "main", "run"]
