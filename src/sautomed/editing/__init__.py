"""A person corrects slices of an automatic result, and the volume follows (docs/editing.md).

open_session.py      edit, which opens a session; session.py the session, changes.py what an edit changed
arguments.py         what a program gives to a session, checked
edits.py             what is given and locked, as a frozen value; history.py undo and redo over such values
fill.py              masks for the slices between painted ones
corrected_volume.py  slices on the scan's own grid, as edits leave them; shown_volume.py all slices as they are shown
edited_volume.py     the shown slices with their history and log: how an edit is made
lines.py, log.py     the log on disk, and its replay
prompts.py           what prompted each organ; replay.py edits as they lie in FILE.prompts.json
"""

from sautomed.editing.changes import Change, Comparison, PropagatedSlice
from sautomed.editing.open_session import edit
from sautomed.editing.session import Session

__all__ = ["Change", "Comparison", "PropagatedSlice", "Session", "edit"]
