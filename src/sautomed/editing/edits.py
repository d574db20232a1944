"""What a person gave in a session, as frozen values that are also lines of its log.

What is given is in the words of FILE.prompts.json. Everything that a session shows follows from the automatic
walk and from one value of `Edits`; going back to an earlier value is undo.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
from jaxtyping import UInt
from pydantic import BaseModel, ConfigDict

from sautomed.inference.prompts.document import Given, GivenMask
from sautomed.model.corrections import Correction, Corrections


class FrozenSlice(BaseModel):
    """The labels of a locked slice: in the order of rows, compressed, as base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, int]
    packed: str
    dtype: Literal["uint8", "uint16"]

    @staticmethod
    def of(labels: UInt[np.ndarray, "h w"]) -> FrozenSlice:
        packed = b64encode(zlib.compress(np.ascontiguousarray(labels).tobytes())).decode("ascii")
        return FrozenSlice(shape=(labels.shape[0], labels.shape[1]), dtype=labels.dtype.name, packed=packed)

    @property
    def labels(self) -> UInt[np.ndarray, "h w"]:
        return np.frombuffer(self._bytes(), self.dtype).reshape(self.shape)

    def check(self, shape: tuple[int, int]) -> None:
        """Raise ValueError unless these are the labels of a slice of this shape; a line of a log may be anybody's."""
        if self.shape != shape:
            raise ValueError(f"labels of {self.shape}, but slices have {shape}")
        self._bytes()

    def _bytes(self) -> bytes:
        length = self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize
        try:
            found = zlib.decompressobj().decompress(b64decode(self.packed, validate=True), length + 1)
        except zlib.error as error:
            raise ValueError("labels are not compressed") from error
        if len(found) != length:
            raise ValueError(f"labels of {len(found)} bytes, but slices have {length}")
        return found


@dataclass(frozen=True)
class Edits:
    """All that is in force.

    Attributes:
        corrections: What is given (`Given`), and where it has come to.
        locked: Slices that stay as they were when they were locked.
    """

    corrections: Corrections = field(default_factory=Corrections)
    locked: Mapping[int, FrozenSlice] = field(default_factory=dict)

    def give(self, t: int, k: int, given: Given) -> Edits:
        """Give something for an organ; where a mask was painted, masks that were painted before lose its pixels."""
        corrections = self.corrections.give(t, k, given)
        if isinstance(given, GivenMask):
            for other, correction in corrections.at(t).items():
                if other != k and isinstance(correction.given, GivenMask):
                    corrections = corrections.give(t, other, correction.given.without(given))
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


def given_of(correction: Correction) -> Given:
    """Return what is given in a correction of these edits; the model's own may hold anything."""
    return cast(Given, correction.given)
