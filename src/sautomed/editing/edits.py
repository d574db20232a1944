"""What a person gave in a session, as frozen values that are also lines of its log.

Boxes and masks are in native pixels of an oriented slice. Everything that a session shows follows from the automatic
walk and from one value of `Edits`; going back to an earlier value is undo.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, UInt
from pydantic import BaseModel, ConfigDict, Field

from sautomed.model.corrections import Corrections


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Box(_Value):
    """An organ is within this box, and nowhere else on its slice: x0 y0 x1 y1, half-open."""

    kind: Literal["box"] = "box"
    box: tuple[float, float, float, float]


class Absent(_Value):
    """An organ is not on its slice."""

    kind: Literal["absent"] = "absent"


class _Pixels(_Value):
    """Pixels of a slice: bytes in the order of rows, compressed, as base64."""

    shape: tuple[int, int]
    packed: str

    def check(self, shape: tuple[int, int]) -> None:
        """Raise ValueError unless these are the pixels of a slice of this shape; a line of a log may be anybody's."""
        if self.shape != shape:
            raise ValueError(f"pixels of {self.shape}, but slices have {shape}")
        self._bytes()

    def _bytes(self) -> bytes:
        length, stream = self._length(), zlib.decompressobj()
        try:
            found = stream.decompress(b64decode(self.packed, validate=True), length + 1)
        except zlib.error as error:
            raise ValueError("pixels are not compressed") from error
        if len(found) != length:
            raise ValueError(f"pixels of {len(found)} bytes, but slices have {length}")
        return found

    def _length(self) -> int:
        raise NotImplementedError


class Mask(_Pixels):
    """These are the pixels of an organ on its slice: a bit each."""

    kind: Literal["mask"] = "mask"

    @staticmethod
    def of(pixels: Bool[np.ndarray, "h w"]) -> Mask:
        return Mask(shape=(pixels.shape[0], pixels.shape[1]), packed=_packed(np.packbits(pixels)))

    @property
    def pixels(self) -> Bool[np.ndarray, "h w"]:
        bits = np.unpackbits(np.frombuffer(self._bytes(), np.uint8), count=self.shape[0] * self.shape[1])
        return bits.reshape(self.shape).astype(bool)

    def _length(self) -> int:
        return -(-self.shape[0] * self.shape[1] // 8)


class FrozenSlice(_Pixels):
    """The labels of a locked slice."""

    dtype: Literal["uint8", "uint16"]

    @staticmethod
    def of(labels: UInt[np.ndarray, "h w"]) -> FrozenSlice:
        shape = (labels.shape[0], labels.shape[1])
        return FrozenSlice(shape=shape, dtype=labels.dtype.name, packed=_packed(labels))

    @property
    def labels(self) -> UInt[np.ndarray, "h w"]:
        return np.frombuffer(self._bytes(), self.dtype).reshape(self.shape)

    def _length(self) -> int:
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize


Given = Annotated[Box | Absent | Mask, Field(discriminator="kind")]


@dataclass(frozen=True)
class Edits:
    """All that is in force.

    Attributes:
        corrections: What is given (`Given`), and where it has come to.
        locked: Slices that stay as they were when they were locked.
    """

    corrections: Corrections = field(default_factory=Corrections)
    locked: Mapping[int, FrozenSlice] = field(default_factory=dict)

    def give(self, t: int, k: int, given: Box | Absent | Mask) -> Edits:
        """Give something for an organ; where a mask was painted, masks that were painted before lose its pixels."""
        corrections = self.corrections.give(t, k, given)
        if isinstance(given, Mask):
            for other, correction in corrections.at(t).items():
                if other != k and isinstance(correction.given, Mask):
                    left = correction.given.pixels & ~given.pixels
                    if not np.array_equal(left, correction.given.pixels):
                        corrections = corrections.give(t, other, Mask.of(left))
        return replace(self, corrections=corrections)

    def forget(self, t: int, k: int) -> Edits:
        """Take back what is given for an organ on a slice, wherever it has come to."""
        return replace(self, corrections=self.corrections.forget(t, k))

    def travel(self, t: int, classes: tuple[int, ...], to: int) -> Edits:
        """Let what is given for some organs of slice t come to another slice."""
        return replace(self, corrections=self.corrections.travel(t, classes, to))

    def lock(self, t: int, labels: FrozenSlice) -> Edits:
        """Keep slice t as it is."""
        return replace(self, locked={**self.locked, t: labels})

    def release(self, t: int) -> Edits:
        """Let slice t follow from what is given again."""
        return replace(self, locked={slice_: labels for slice_, labels in self.locked.items() if slice_ != t})

    def inputs(self, t: int) -> object:
        """Return all that slice t follows from."""
        return self.locked[t] if t in self.locked else self.corrections.inputs(t)


def _packed(array: np.ndarray) -> str:
    return b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode("ascii")
