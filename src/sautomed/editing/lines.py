"""The lines of a session's log, and what each does to the history of edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sautomed.editing.edits import FrozenSlice
from sautomed.editing.history import History
from sautomed.inference.engine.computing import Computing, Engine, Precision
from sautomed.inference.prompts.document import Given, GivenMask, check_given

VERSION = 3  # of the format that is written
READABLE = (2, 3)  # others are refused; 2 names neither engine nor precision: then all was PyTorch in float32


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Computed(_Line):
    """A line that names engine and precision of the result which edits were made on."""

    engine: Engine = "torch"
    precision: Precision = "32"

    @property
    def computing(self) -> Computing:
        return Computing(self.engine, self.precision)


class Header(_Computed):
    """The first line: what the edits are of.

    Attributes:
        scan: Hash of the voxels and their place.
        model: Hash of the model's files.
        walk: Order of the slices.
        organs: In the order of their label values.
        name: Of the scan, to be read by people.
    """

    version: int = VERSION
    scan: str
    model: str
    walk: str
    organs: tuple[str, ...]
    name: str


class _OnSlice(_Line):
    """A line about a slice."""

    slice: int

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise ValueError if the line speaks of what a scan of this shape has not."""
        if not 0 <= self.slice < shape[0]:
            raise ValueError(f"there is no slice {self.slice}")


class Give(_OnSlice):
    """A box, a mask, or that an organ is absent."""

    edit: Literal["give"] = "give"
    organ: str
    given: Given

    def check(self, shape: tuple[int, int, int]) -> None:
        super().check(shape)
        check_given(self.given, shape[1], shape[2], f"{self.organ} on slice {self.slice}")

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.do(history.now.give(self.slice, organs.index(self.organ), self.given))


class Fill(_Line):
    """Masks of an organ on the slices between painted ones, by slice; one undo takes all back."""

    edit: Literal["fill"] = "fill"
    organ: str
    masks: dict[int, GivenMask]

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise ValueError if the line speaks of what a scan of this shape has not."""
        for t, mask in self.masks.items():
            _OnSlice(slice=t).check(shape)
            check_given(mask, shape[1], shape[2], f"{self.organ} on slice {t}")

    def after(self, history: History, organs: Sequence[str]) -> History:
        edits, k = history.now, organs.index(self.organ)
        for t, mask in self.masks.items():
            edits = edits.give(t, k, mask)
        return history.do(edits)


class Forget(_OnSlice):
    """Nothing is given for an organ on a slice any more."""

    edit: Literal["forget"] = "forget"
    organ: str

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.do(history.now.forget(self.slice, organs.index(self.organ)))


class Lock(_OnSlice):
    """A slice keeps these labels."""

    edit: Literal["lock"] = "lock"
    labels: FrozenSlice

    def check(self, shape: tuple[int, int, int]) -> None:
        super().check(shape)
        self.labels.check(shape[1:])

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.do(history.now.lock(self.slice, self.labels))


class Release(_OnSlice):
    """A slice is locked no more."""

    edit: Literal["release"] = "release"

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.do(history.now.release(self.slice))


class Travel(_OnSlice):
    """What is given for some organs of a slice came to another slice.

    Attributes:
        goes_on: It belongs to the edit before: one undo takes back both.
    """

    edit: Literal["travel"] = "travel"
    organs: tuple[str, ...]
    to: int
    goes_on: bool

    def check(self, shape: tuple[int, int, int]) -> None:
        super().check(shape)
        if not 0 <= self.to < shape[0]:
            raise ValueError(f"there is no slice {self.to}")

    def after(self, history: History, organs: Sequence[str]) -> History:
        classes = tuple(organs.index(organ) for organ in self.organs)
        return history.do(history.now.travel(self.slice, classes, self.to), amend=self.goes_on)


class _OfHistory(_Line):
    """A line about other lines."""

    def check(self, shape: tuple[int, int, int]) -> None:
        """Fits every scan."""


class Undo(_OfHistory):
    """The edit before is taken back."""

    edit: Literal["undo"] = "undo"

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.undo()


class Redo(_OfHistory):
    """What was taken back last is done again."""

    edit: Literal["redo"] = "redo"

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history.redo()


class ComputedBy(_Computed, _OfHistory):
    """The edits that follow were made on a result of another engine or precision than those before; it is no edit."""

    edit: Literal["computed by"] = "computed by"

    def after(self, history: History, organs: Sequence[str]) -> History:
        return history


Line = Annotated[Give | Fill | Forget | Lock | Release | Travel | Undo | Redo | ComputedBy, Field(discriminator="edit")]
