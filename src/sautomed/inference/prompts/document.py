"""The document of the prompts of a segmented scan, as it lies in FILE.prompts.json; docs/prompts.md describes it.

Computed numbers are rounded, so that two runs differ only where something differs; what a person gave is kept to the
last digit, since masks follow from it. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from sautomed.inference.prompts.runs import box_of_mask, mask_of, runs_of

SCHEMA: Literal["sautomed prompts 1"] = "sautomed prompts 1"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _rounded(digits: int) -> AfterValidator:
    return AfterValidator(lambda number: round(number, digits) + 0.0)  # + 0.0: no minus before a zero


Pixel = Annotated[float, _rounded(2)]
Share = Annotated[float, Field(ge=0, le=1), _rounded(4)]
Coefficient = Annotated[float, _rounded(6)]
Row = tuple[Coefficient, Coefficient, Coefficient, Coefficient]
NativeBox = Annotated[tuple[Pixel, Pixel, Pixel, Pixel], Field(description="x0 y0 x1 y1 in native pixels, half-open")]
GivenNumbers = Annotated[tuple[float, float, float, float], Field(description="as NativeBox, not rounded")]
Index = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Runs = Annotated[
    tuple[Index, ...], Field(description="pixels outside and inside of a mask in turn, row by row, outside first")
]


_BOX = TypeAdapter(NativeBox)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)


class GivenBox(_Part):
    """A person gave a box: the organ is within it, and nowhere else on the slice."""

    kind: Literal["box"] = "box"
    box: GivenNumbers


class GivenAbsence(_Part):
    """A person said that the organ is not on the slice."""

    kind: Literal["not here"] = "not here"


class GivenMask(_Part):
    """A person painted the organ: these are its pixels on the slice."""

    kind: Literal["mask"] = "mask"
    runs: Runs

    @staticmethod
    def of(pixels: Bool[np.ndarray, "h w"]) -> GivenMask:
        return GivenMask(runs=runs_of(pixels))

    def pixels(self, shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        """Return the mask on a slice of this shape; raises ValueError if it is of another one."""
        return mask_of(self.runs, shape)

    def without(self, other: GivenMask) -> GivenMask:
        """Return the mask without the pixels of another one of the same shape."""
        row = (1, sum(self.runs))
        return GivenMask.of(self.pixels(row) & ~other.pixels(row))


Given = Annotated[GivenBox | GivenAbsence | GivenMask, Field(discriminator="kind")]


class OrganPrompt(_Part):
    """What prompted an organ on a slice, and what came out."""

    presence: Share | None = Field(description="probability, by the model, that the organ is on the slice")
    source: Literal["auto", "given"] = Field(description="whether a person gave something for it")
    box: NativeBox | None = Field(
        description="that prompted it: the given one, around the given mask, or around the organ on the previous slice "
        "of the walk; null if there was none"
    )
    mask_box: NativeBox | None = Field(description="around the mask that came out; null if it is empty")
    confidence: Share | None = Field(
        None, description="of the mask: its expected Dice by the model's probabilities; null without a mask"
    )
    given: Given | None = Field(None, description="by a person, for this organ on this slice")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> OrganPrompt:
        if (self.source == "given") != (self.given is not None):
            raise ValueError('"source" is "given" if and only if something is given')
        return self

    @property
    def is_painted(self) -> bool:
        """Whether a person gave a mask for it that has any pixel."""
        return isinstance(self.given, GivenMask) and any(self.given.runs[1::2])

    def as_given(self, given: Given, shape: tuple[int, int]) -> OrganPrompt:
        """Return the prompt with something given, on a slice of this shape; what came out stays."""
        return self.model_copy(update={"source": "given", "box": _box_of(given, shape), "given": given})


class SlicePrompts(_Part):
    """The prompts of a slice."""

    index: Index = Field(description="in the oriented scan, from 0")
    organs: dict[str, OrganPrompt] = Field(description="all of the document's organs")


class Carried(_Part):
    """What was given for an organ on a slice, and has come to other slices."""

    index: Index = Field(description="the slice for which it was given")
    organ: str
    given: Given = Field(description="that came to the others, even if something else is given there now")
    slices: tuple[Index, ...] = Field(description="that it has come to")


class LockedSlice(_Part):
    """A slice that stays as it is."""

    index: Index
    masks: dict[str, Runs] = Field(description="of the organs that it has")


class ReadAs(_Part):
    """The options with which the scan was read, as those of `sautomed segment`."""

    series: str | None = None
    frame: Index | None = None
    channel: Index | None = None
    resample: bool = False
    assume_spacing: bool = False


class ScanIdentity(_Part):
    """The scan."""

    name: str
    sha256: Sha256 | None = Field(
        description="of the file's bytes; of several files, of their sorted hashes; null if it lay in no file"
    )
    read: ReadAs
    plane: Literal["axial", "coronal", "sagittal"] = Field(description="of the slices")
    shape: tuple[Size, Size, Size] = Field(description="slices, rows and columns, as the slices are shown")
    affine: tuple[Row, Row, Row, Row] = Field(
        description="index (slice, row, column, 1) to mm towards right, anterior, superior"
    )


class ModelIdentity(_Part):
    """The model."""

    id: str = Field(description="name of its preset or settings")
    sha256: Sha256 | None = Field(
        description="of the sorted hashes of config.json, dataset.json and model.safetensors; null without a folder"
    )


class PromptsDocument(_Part):
    """The prompts of a segmented scan, and what a person gave."""

    schema_: Literal["sautomed prompts 1"] = Field(alias="schema", description="name and version of the format")
    sautomed: str = Field(description="version of the program")
    scan: ScanIdentity
    model: ModelIdentity
    walk: Literal["mid_to_ends", "end_to_end"] = Field(description="order of the slices")
    chunk: Size = Field(description="slices that passed through the trunk together")
    engine: Literal["torch", "openvino"] = Field("torch", description="that computed the network")
    precision: Literal["32", "bf16"] = Field("32", description="in which it did")
    organs: dict[str, Size] = Field(min_length=1, description="their values in the label map")
    carried: tuple[Carried, ...] = Field((), description="the latest last")
    locked: tuple[LockedSlice, ...] = ()
    slices: tuple[SlicePrompts, ...] = Field(description="all, in order")

    @property
    def has_edits(self) -> bool:
        """Whether a person gave anything, or locked a slice."""
        return bool(self.carried or self.locked or self.given())

    def given(self) -> dict[tuple[int, str], Given]:
        """Return what is given, by slice and organ."""
        return {
            (part.index, organ): prompt.given
            for part in self.slices
            for organ, prompt in part.organs.items()
            if prompt.given is not None
        }

    def with_edits(
        self, given: Mapping[tuple[int, str], Given], carried: tuple[Carried, ...], locked: tuple[LockedSlice, ...]
    ) -> PromptsDocument:
        """Return a copy of an automatic document with what a person gave, by slice and organ, and locked."""
        changed = [
            part.model_copy(
                update={
                    "organs": {
                        organ: prompt.as_given(given[part.index, organ], self.scan.shape[1:])
                        if (part.index, organ) in given
                        else prompt
                        for organ, prompt in part.organs.items()
                    }
                }
            )
            for part in self.slices
        ]
        return self.model_copy(update={"slices": tuple(changed), "carried": carried, "locked": locked})

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> PromptsDocument:
        depth, rows, columns = self.scan.shape
        if [part.index for part in self.slices] != list(range(min(depth, len(self.slices) + 1))):
            raise ValueError(f'"slices" are not those from 0 to {depth - 1}, in order')
        if len(set(self.organs.values())) < len(self.organs):
            raise ValueError('two of the "organs" have one value')
        for part in self.slices:
            if part.organs.keys() != self.organs.keys():
                raise ValueError(f'slice {part.index} has not the organs of "organs"')
        for (index, organ), given in self.given().items():
            check_given(given, rows, columns, f"{organ} on slice {index}")
        for item in self.carried:
            check_given(item.given, rows, columns, f"{item.organ} on slice {item.index}")
        for item in self.carried:
            if item.organ not in self.organs or max((item.index, *item.slices)) >= depth:
                raise ValueError('"carried" names a slice or an organ that is not there')
        self._check_locked(rows * columns)
        return self

    def _check_locked(self, pixels: int) -> None:
        indices = [item.index for item in self.locked]
        if len(set(indices)) < len(indices) or max(indices, default=0) >= self.scan.shape[0]:
            raise ValueError('"locked" names a slice twice, or one that is not there')
        for item in self.locked:
            if not item.masks.keys() <= self.organs.keys():
                raise ValueError('"locked" names an organ that is not there')
            if any(sum(runs) != pixels for runs in item.masks.values()):
                raise ValueError(f"a mask of the locked slice {item.index} has not the pixels of a slice")


def _box_of(given: Given, shape: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Return the box of what is given on a slice of this shape, rounded as all that is computed."""
    if isinstance(given, GivenBox):
        return _BOX.validate_python(given.box)
    if isinstance(given, GivenMask):
        return box_of_mask(given.pixels(shape))
    return None


def check_given(given: Given, rows: int, columns: int, where: str) -> None:
    """Raise ValueError for what no slice of this size can have been given."""
    if isinstance(given, GivenBox):
        x0, y0, x1, y1 = given.box
        if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
            raise ValueError(f"the given box of {where} has no area within the slice of {columns} x {rows} pixels")
    if isinstance(given, GivenMask) and sum(given.runs) != rows * columns:
        raise ValueError(f"the given mask of {where} has not the pixels of a slice")
