"""Edits as they lie in FILE.prompts.json, and segmenting by them: the same scan, model and file give the same masks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from sautomed.editing.corrected_volume import CorrectedVolume
from sautomed.editing.edits import Edits, FrozenSlice, given_of
from sautomed.inference.batch.backoff import SlicesOf
from sautomed.inference.engine import Computing
from sautomed.inference.memory import CORRECTION_BYTES, FEATURE_BYTES
from sautomed.inference.model import Model, with_chunk, with_walk
from sautomed.inference.prompts.document import Carried, LockedSlice, PromptsDocument
from sautomed.inference.prompts.runs import mask_of, runs_of
from sautomed.inference.segmenting import SegmentedSlice
from sautomed.inference.view import label_type
from sautomed.model.corrections import Correction, Corrections, Travelling
from sautomed.scans.volume import Volume

log = logging.getLogger(__name__)


def as_recorded(model: Model, document: PromptsDocument) -> Model:
    """Return the model with the walk and the chunk by which a document was made.

    Logs a warning if it is computed in another way than then, since single pixels may differ.
    """
    then = Computing(document.engine, document.precision)
    if model.computing != then:
        log.warning(
            "The prompts are of a result by %s, and now %s computes it: single pixels may differ. "
            "The same masks need %s.",
            then,
            model.computing,
            then.options,
        )
    return with_chunk(with_walk(model, document.walk), document.chunk)


def slices_replayed(document: PromptsDocument) -> SlicesOf:
    """Return how to segment by a document: the automatic walk, and then the slices that edits have changed once more.

    The scan has the document's slices, and the model its organs.
    """

    def slices_of(model: Model, volume: Volume) -> Iterator[SegmentedSlice]:
        if not document.has_edits:
            yield from model.slices(volume)
            return
        edits, automatic = edits_of(document), Edits()
        corrected = CorrectedVolume(model.walk(volume, FEATURE_BYTES), len(model.labels), CORRECTION_BYTES)
        edited = {}
        for part in corrected:
            if edits.inputs(part.index) != automatic.inputs(part.index):
                edited[part.index] = replace(part, labels=part.labels[:0].copy())  # they come again
            yield part
        for t, part in sorted(edited.items()):
            labels = corrected.labels(t, edits)
            yield replace(part, done=part.total, labels=labels, mask_boxes=corrected.view.mask_boxes_of(labels))

    return slices_of


def edits_of(document: PromptsDocument) -> Edits:
    """Return all that is given and locked in a document."""
    classes, shape = {organ: k for k, organ in enumerate(_in_order(document))}, document.scan.shape[1:]
    given = {
        (t, classes[organ]): Correction(t, classes[organ], found) for (t, organ), found in document.given().items()
    }
    travelling = tuple(
        Travelling(Correction(item.index, classes[item.organ], item.given), frozenset(item.slices))
        for item in document.carried
    )
    locked = {item.index: _frozen(item, document.organs, shape) for item in document.locked}
    return Edits(Corrections(given, travelling), locked)


def with_edits(document: PromptsDocument, edits: Edits) -> PromptsDocument:
    """Return the document of an automatic result with these edits; boxes of masks stay as they are."""
    organs = _in_order(document)
    given = {(t, organs[k]): given_of(found) for (t, k), found in edits.corrections.given.items()}
    carried = tuple(
        Carried(
            index=item.correction.t,
            organ=organs[item.correction.k],
            given=given_of(item.correction),
            slices=tuple(sorted(item.slices)),
        )
        for item in edits.corrections.travelling
    )
    locked = tuple(_locked(t, found, document.organs) for t, found in sorted(edits.locked.items()))
    return document.with_edits(given, carried, locked)


def _in_order(document: PromptsDocument) -> list[str]:
    """Return the organs by label value: the classes of the model."""
    return sorted(document.organs, key=document.organs.__getitem__)


def _locked(t: int, found: FrozenSlice, organs: Mapping[str, int]) -> LockedSlice:
    masks = {organ: found.labels == value for organ, value in organs.items()}
    return LockedSlice(index=t, masks={organ: runs_of(mask) for organ, mask in masks.items() if mask.any()})


def _frozen(item: LockedSlice, organs: Mapping[str, int], shape: tuple[int, int]) -> FrozenSlice:
    labels = np.zeros(shape, label_type({value: organ for organ, value in organs.items()}))
    for organ, runs in item.masks.items():
        labels[mask_of(runs, shape)] = organs[organ]
    return FrozenSlice.of(labels)
