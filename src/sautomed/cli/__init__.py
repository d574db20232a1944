"""The command line: parse, call one verb, show its progress, turn errors into exit codes.

app.py             the typer application and the options that commands share
main.py            the entry point: messages and exit codes
stopping.py        Ctrl-C and other signals
model_commands.py  demo, phantom, train, evaluate
scan_commands.py   segment, merge, convert, info, doctor
study_commands.py  study, report
studio_command.py  studio
demo.py, convert.py, info.py  what these three commands do
places.py          paths and URLs that are given
progress.py        their progress, as bars or, without a terminal, as progress_lines.py
tables.py          their tables
verbosity.py       the options -v and -q
streams.py         standard output and error without a reader

Verbs are imported when they are called, so `--help` needs neither torch nor matplotlib.
"""

from sautomed.cli.app import app
from sautomed.cli.main import main, refuse_unusable_paths, run
from sautomed.cli.model_commands import demo, evaluate, phantom, train
from sautomed.cli.scan_commands import convert, doctor, info, merge, segment
from sautomed.cli.studio_command import studio
from sautomed.cli.study_commands import report, study
from sautomed.cli.verbosity import choose_verbosity, with_verbosity

app.callback()(choose_verbosity)
# As `--help` lists them.
for command in (demo, train, segment, merge, studio, evaluate, convert, info, doctor, phantom, study, report):
    app.command()(with_verbosity(refuse_unusable_paths(command)))

__all__ = ["app", "main", "run"]
