"""The document of the prompts of a segmented scan, as it lies in FILE.prompts.json; docs/prompts.md describes it.

Computed numbers are rounded, so that two runs differ only where something differs; what a person gave is kept to the
last digit, since masks follow from it. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA: Literal["sautomed prompts 1"] = "sautomed prompts 1"

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


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
    tuple[Index, ...],
    Field(description="pixels outside and inside of a mask in turn, row by row, outside first"),
]


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


Given = Annotated[GivenBox | GivenAbsence | GivenMask, Field(discriminator="kind")]


class OrganPrompt(_Part):
    """What prompted an organ on a slice, and what came out.

    Attributes:
        presence: Probability of the organ's being on the slice, by the model.
        source: Whether a person gave something for it.
        box: That prompted it: the given one, or around the given mask, or around the organ on the previous slice of the
            walk; null if there was none.
        mask_box: Around the mask that came out; null if it is empty.
        confidence: Of the mask, from 0 to 1; null until it is computed.
        given: By a person, for this organ on this slice.
    """

    presence: Share | None
    source: Literal["auto", "given"]
    box: NativeBox | None
    mask_box: NativeBox | None
    confidence: Share | None = None
    given: Given | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> OrganPrompt:
        if (self.source == "given") != (self.given is not None):
            raise ValueError('"source" is "given" if and only if something is given')
        return self


class SlicePrompts(_Part):
    """The prompts of a slice, by organ."""

    index: Index
    organs: dict[str, OrganPrompt]


class Carried(_Part):
    """What was given for an organ on a slice has come to other slices.

    Attributes:
        index: The slice for which it was given.
        given: In the document beside what is given there now, since something else may have been given since.
        slices: Those that it has come to.
    """

    index: Index
    organ: str
    given: Given
    slices: tuple[Index, ...]


class LockedSlice(_Part):
    """A slice that stays as it is: the mask of each organ that it has."""

    index: Index
    masks: dict[str, Runs]


class ReadAs(_Part):
    """The options with which the scan was read (`sautomed.scans.ReadOptions`)."""

    series: str | None = None
    frame: Index | None = None
    channel: Index | None = None
    resample: bool = False
    assume_spacing: bool = False


class ScanIdentity(_Part):
    """The scan.

    Attributes:
        sha256: Of the file's bytes; of several files, of their sorted hashes.
        plane: Of the slices.
        shape: Slices, rows and columns, as the slices are shown.
        affine: Index (slice, row, column) to mm towards right, anterior, superior.
    """

    name: str
    sha256: _Sha256
    read: ReadAs
    plane: Literal["axial", "coronal", "sagittal"]
    shape: tuple[Size, Size, Size]
    affine: tuple[Row, Row, Row, Row]


class ModelIdentity(_Part):
    """The model.

    Attributes:
        id: The preset or name of its settings.
        sha256: Of config.json, dataset.json and model.safetensors; null if it lay in no folder.
    """

    id: str
    sha256: _Sha256 | None


class PromptsDocument(_Part):
    """The whole document.

    Attributes:
        sautomed: Version that wrote it.
        walk: Order of the slices.
        chunk: Slices that passed through the trunk together; another number may change the last bit.
        organs: Their values in the label map.
        carried: What is given and has come to other slices, the latest last.
        locked: Slices that stay as they are.
        slices: All, in order.
    """

    schema_: Literal["sautomed prompts 1"] = Field(SCHEMA, alias="schema")
    sautomed: str
    scan: ScanIdentity
    model: ModelIdentity
    walk: Literal["mid_to_ends", "end_to_end"]
    chunk: Size
    organs: Annotated[dict[str, Size], Field(min_length=1)]
    carried: tuple[Carried, ...] = ()
    locked: tuple[LockedSlice, ...] = ()
    slices: tuple[SlicePrompts, ...]

    @property
    def has_edits(self) -> bool:
        """Whether a person gave anything, or locked a slice."""
        return bool(self.carried or self.locked) or any(True for _ in self.given())

    def given(self) -> Iterator[tuple[int, str, Given]]:
        """Yield slice, organ and what is given, in the order of the slices."""
        for part in self.slices:
            for organ, prompt in part.organs.items():
                if prompt.given is not None:
                    yield part.index, organ, prompt.given

    def with_edits_of(self, other: PromptsDocument) -> PromptsDocument:
        """Return a copy with all that is given and locked in another document of as many slices of these organs."""
        slices = [
            part.model_copy(update={"organs": _with_given(part.organs, edited.organs)})
            for part, edited in zip(self.slices, other.slices, strict=True)
        ]
        changes: dict[str, Any] = {"carried": other.carried, "locked": other.locked, "slices": tuple(slices)}
        return self.model_copy(update=changes)

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
        for index, organ, given in (*self.given(), *((item.index, item.organ, item.given) for item in self.carried)):
            _check_given(given, rows, columns, f"{organ} on slice {index}")
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


def _with_given(automatic: Mapping[str, OrganPrompt], edited: Mapping[str, OrganPrompt]) -> dict[str, OrganPrompt]:
    """Return the prompts of a slice with what is given for it in another document."""
    return {
        organ: prompt
        if edited[organ].given is None
        else prompt.model_copy(update={name: getattr(edited[organ], name) for name in ("source", "box", "given")})
        for organ, prompt in automatic.items()
    }


def _check_given(given: Given, rows: int, columns: int, where: str) -> None:
    """Raise ValueError for what no slice of this size can have been given."""
    if isinstance(given, GivenBox):
        x0, y0, x1, y1 = given.box
        if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
            raise ValueError(f"the given box of {where} has no area within the slice of {columns} x {rows} pixels")
    if isinstance(given, GivenMask) and sum(given.runs) != rows * columns:
        raise ValueError(f"the given mask of {where} has not the pixels of a slice")
