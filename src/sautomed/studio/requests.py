"""What the page may ask for. Whatever has another shape is refused before it is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Slice = Annotated[int, Field(ge=0, lt=1_000_000)]
Length = Annotated[int, Field(ge=0, lt=2**31)]
Runs = Annotated[list[Length], Field(max_length=500_000)]


class Request(BaseModel):
    """Base of all: other names and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OpenScan(Request):
    case: str


class MarkDone(Request):
    case: str
    done: bool


class SliceEdit(Request):
    """Lock a slice, or release it."""

    kind: Literal["lock", "release"]
    slice: Slice


class OrganEdit(Request):
    """Say that an organ is not in a slice, or take back what was given for it."""

    kind: Literal["absent", "forget"]
    slice: Slice
    organ: int


class BoxEdit(Request):
    """Give a box, x0 y0 x1 y1 in native pixels."""

    kind: Literal["box"]
    slice: Slice
    organ: int
    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]


class MaskEdit(Request):
    """Add pixels to an organ, or take them from it; `runs` as `mask_of`."""

    kind: Literal["paint", "erase"]
    slice: Slice
    organ: int
    runs: Runs


class FillEdit(Request):
    """Fill the slices between two on which an organ is painted."""

    kind: Literal["fill"]
    slice: Slice
    last: Slice
    organ: int


Edit = Annotated[SliceEdit | OrganEdit | BoxEdit | MaskEdit | FillEdit, Field(discriminator="kind")]


class EditRequest(Request):
    """An edit, and the revision of what the page shows: another page may have changed it."""

    revision: int
    edit: Edit


class StepRequest(Request):
    """Undo or redo."""

    revision: int


class WalkRequest(Request):
    """Walk again from a slice."""

    revision: int
    slice: Slice
    direction: Literal["both", "up", "down"]
    until: Slice | None = None


class SaveRequest(Request):
    """Write what the page shows, in these formats."""

    revision: int
    endings: Annotated[list[str], Field(min_length=1, max_length=12)]
    replace: bool = False
