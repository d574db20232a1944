"""What prompted the organs of a session's slices: to be looked at, and to be written to FILE.prompts.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt

from sautomed.editing.edits import Edits
from sautomed.editing.replay import with_edits
from sautomed.inference.batch.scans import scan_files
from sautomed.inference.model import Model
from sautomed.inference.prompts.collect import confidence_of, native_box, prompts_document, scan_identity
from sautomed.inference.prompts.document import OrganPrompt, PromptsDocument, SlicePrompts
from sautomed.inference.prompts.runs import box_of_mask
from sautomed.inference.segmenting import SegmentedSlice
from sautomed.scans import ReadOptions
from sautomed.scans.paths import sha256_of
from sautomed.scans.volume import Volume


class Prompts:
    """The prompts of all slices: by index, then by organ."""

    def __init__(self, of_slice: Callable[[int], Mapping[str, OrganPrompt]]):
        self._of_slice = of_slice

    def __getitem__(self, t: int) -> Mapping[str, OrganPrompt]:
        return self._of_slice(t)


def automatic_prompts(part: SegmentedSlice, shown: UInt[np.ndarray, "h w"], organs: Mapping[int, str]) -> SlicePrompts:
    """Return what prompted a slice in the automatic walk, how sure that is, and the boxes of the masks as shown now.

    Args:
        organs: Value in the label map -> organ.
    """
    return SlicePrompts(
        index=part.index,
        organs={
            organs[value]: OrganPrompt(
                presence=None if part.presence is None else float(part.presence[k]),
                source="auto",
                box=None if part.boxes is None else native_box(part.boxes[k]),
                mask_box=box_of_mask(shown == value),
                confidence=confidence_of(part, k),
            )
            for k, value in enumerate(sorted(organs))
        },
    )


def session_document(
    model: Model, volume: Volume, options: ReadOptions, slices: Sequence[SlicePrompts], edits: Edits
) -> PromptsDocument:
    """Return the document of a session.

    Args:
        options: With which the scan was read.
        slices: From `automatic_prompts`.
    Raises:
        MissingFile: The scan's file is not there any more.
    """
    sha256 = None if volume.path is None else sha256_of(scan_files(volume.path))
    identity = scan_identity(volume, sha256, options)
    return with_edits(prompts_document(identity, model, model.settings.segment.chunk, tuple(slices)), edits)
