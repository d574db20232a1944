"""Collect the prompts of a scan while it is segmented: a few numbers for each organ and slice, no maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from sautomed.config.version import __version__
from sautomed.inference.prompts.document import (
    SCHEMA,
    ModelIdentity,
    OrganPrompt,
    PromptsDocument,
    ReadAs,
    ScanIdentity,
    SlicePrompts,
)

if TYPE_CHECKING:
    from sautomed.inference.model import Model
    from sautomed.inference.segmenting import SegmentedSlice
    from sautomed.scans import ReadOptions
    from sautomed.scans.volume import Volume


class PromptCollector:
    """Collects the prompts of slices as they are done; of a slice that comes again, the last.

    Args:
        organs: Value in the label map -> organ.
    """

    def __init__(self, organs: Mapping[int, str]):
        self._organs = [organs[value] for value in sorted(organs)]
        self._slices: dict[int, SlicePrompts] = {}

    def add(self, part: SegmentedSlice) -> None:
        """Add a slice; those of systems without box prompts are left out."""
        if part.presence is None or part.boxes is None or part.mask_boxes is None:
            return
        rows = zip(self._organs, part.presence.tolist(), part.boxes, part.mask_boxes, strict=True)
        self._slices[part.index] = SlicePrompts(
            index=part.index,
            organs={
                organ: OrganPrompt(
                    presence=presence,
                    source="auto",
                    box=native_box(box),
                    mask_box=native_box(mask_box),
                    confidence=confidence_of(part, k),
                )
                for k, (organ, presence, box, mask_box) in enumerate(rows)
            },
        )

    @property
    def slices(self) -> tuple[SlicePrompts, ...]:
        """The prompts in the order of the slices."""
        return tuple(part for _, part in sorted(self._slices.items()))


def confidence_of(part: SegmentedSlice, k: int) -> float | None:
    """Return how sure the automatic mask of a class is; None without one."""
    if part.signals is None or part.mask_boxes is None or np.isnan(part.mask_boxes[k]).any():
        return None
    return part.signals.confidence_of(k)


def native_box(box: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return x0 y0 x1 y1 as plain numbers, or None if they are nan."""
    if np.isnan(box).any():
        return None
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1


def prompts_document(scan: ScanIdentity, model: Model, chunk: int, slices: tuple[SlicePrompts, ...]) -> PromptsDocument:
    """Return the document of a segmented scan.

    Args:
        chunk: Slices that passed through the trunk together.
        slices: All, in order.
    """
    return PromptsDocument(
        schema_=SCHEMA,
        sautomed=__version__,
        scan=scan,
        model=model_identity(model),
        walk=model.settings.segment.walk,
        chunk=chunk,
        engine=model.computing.engine,
        precision=model.computing.precision,
        organs={name: value for value, name in sorted(model.labels.items())},
        slices=slices,
    )


def model_identity(model: Model) -> ModelIdentity:
    """Return what a model is known by."""
    return ModelIdentity(id=printable(model.settings.preset), sha256=model.sha256)


def scan_identity(volume: Volume, sha256: str | None, options: ReadOptions) -> ScanIdentity:
    """Return what a scan is known by.

    Args:
        sha256: Of its files (`scan_files`, `sha256_of`); None if it lay in none.
        options: With which it was read.
    """
    name = "scan" if volume.path is None else printable(volume.path.name)
    affine = tuple(tuple(row) for row in volume.affine.tolist())
    return ScanIdentity(
        name=name, sha256=sha256, read=ReadAs(**asdict(options)), plane=volume.plane, shape=volume.array.shape,
        affine=affine,  # type: ignore[arg-type]  # four rows of four, which pydantic checks
    )  # fmt: skip


def printable(name: str) -> str:
    """Return a name with bytes that are not UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
