"""Lines of the log as the command prints them."""

import logging

import pytest

from sautomed.cli.main import _LogFormatter


@pytest.mark.parametrize(("level", "line"), [(logging.WARNING, "Warning: a word"), (logging.INFO, "a word")])
def test_only_warnings_are_marked_as_such(level, line):
    record = logging.LogRecord("sautomed.x", level, "x.py", 1, "a %s", ("word",), None)
    assert _LogFormatter().format(record) == line
