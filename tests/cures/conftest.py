"""Run into a refusal as a user would, then do what it says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sautomed.errors import SautomedError

from ..datasets.block_dataset import BlockDataset
from .sites import SITES, sites_of

Command = Callable[[], tuple[int, str]]


@dataclass(frozen=True)
class Refusal:
    """A refused command, with the error that it printed."""

    error: SautomedError
    output: str
    again: Callable[..., tuple[int, str]]

    def asks(self, *words: str) -> Refusal:
        """Check that the cure has these words: the test does what they say."""
        for word in words:
            assert word in self.error.cure, self.error.cure
        return self

    def take(self, pattern: str) -> Any:
        """Return what a pattern finds in the message: its groups, or all of it."""
        found = re.search(pattern, str(self.error))
        assert found, (pattern, str(self.error))
        return found.groups() if len(found.groups()) > 1 else found[len(found.groups())]

    def works(self, *more: object) -> str:
        """Run the same command again, with further options, and check that it works now; returns its output."""
        code, output = self.again(*more)
        assert code == 0, f"The cure {self.error.cure!r} was followed, but: {output}"
        return output


@pytest.fixture
def raised(monkeypatch):
    """All errors that were made, each with the sites that made it."""
    found: list[tuple[SautomedError, set[str]]] = []
    original = SautomedError.__init__

    def record(self, *arguments, **options):
        original(self, *arguments, **options)
        found.append((self, sites_of(sys._getframe(1))))

    monkeypatch.setattr(SautomedError, "__init__", record)
    return found


@pytest.fixture
def refuse(command, raised):
    """Run a command that one site must refuse, and return the refusal.

    The error's id, its exit code, the file and the cure must be in the output, and no temporary file.
    """

    def run(key, *arguments):
        assert key in SITES, f"there is no site {key!r}"
        raised.clear()
        code, output = command(*arguments)
        errors = [error for error, sites in raised if key in sites]
        assert errors, f"{key} refused nothing; instead: {output}"
        error = errors[-1]
        assert code in (error.exit_code, 6), output  # 6 if it is one of several cases
        for part in (error.id, str(error.where), error.cure):
            assert _one_line(part) in output, (part, output)
        assert not re.search(r"/\.[0-9a-f]{4}-[0-9a-f]+-", output), output
        return Refusal(error, output, lambda *more: command(*arguments, *more))

    return run


@pytest.fixture
def refuse_call(raised):
    """Call a function of the Python interface that one site must refuse, and return the refusal."""

    def run(key, function, *arguments):
        assert key in SITES, f"there is no site {key!r}"
        raised.clear()
        with pytest.raises(SautomedError) as caught:
            function(*arguments)
        assert any(error is caught.value and key in sites for error, sites in raised), (key, raised)

        def again(*more):
            function(*(more or arguments))
            return 0, ""

        return Refusal(caught.value, str(caught.value), again)

    return run


@pytest.fixture
def blocks(tmp_path):
    return BlockDataset(tmp_path / "Dataset001_Blocks")


@pytest.fixture
def stop_before_steps(monkeypatch):
    """Make `train` end where its steps would begin: everything that it refuses is refused before."""
    monkeypatch.setattr("sautomed.training.train.fit", lambda *_: None)
    monkeypatch.setattr(
        "sautomed.training.train.write_model", lambda learner, prepared, plan, *_: plan.folder / "model"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
