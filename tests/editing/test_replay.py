"""Edits survive FILE.prompts.json, and segmenting by the file gives the masks of the edits, bit for bit."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sautomed.editing.corrected_volume import CorrectedVolume
from sautomed.editing.edits import Edits, FrozenSlice
from sautomed.editing.replay import as_recorded, edits_of, slices_replayed, with_edits
from sautomed.inference.batch.backoff import segment_with_backoff
from sautomed.inference.model import with_chunk, with_walk
from sautomed.inference.prompts.collect import PromptCollector, prompts_document, scan_identity
from sautomed.inference.prompts.document import GivenAbsence, GivenMask, PromptsDocument
from sautomed.inference.prompts.file import prompts_text
from sautomed.scans import ReadOptions

from ..inference import conftest
from ..inference.prompts.documents import given_boxes, masks

DEPTH, ROWS, COLUMNS = SHAPE = (6, 32, 40)
VALUES = (1, 5)
KINDS = ("box", "absent", "mask", "forget", "travel", "lock", "release")

model_folder, model = conftest.model_folder, conftest.model  # fixtures: a model that segments in milliseconds


@pytest.fixture(scope="module")
def volume(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(conftest.blocks(), np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return model.read(path)


@pytest.fixture(scope="module")
def automatic(model, volume):
    """The document of the automatic result."""
    collector = PromptCollector(model.labels)
    for part in model.slices(volume):
        collector.add(part)
    return prompts_document(scan_identity(volume, "0" * 64, ReadOptions()), model, 8, collector.slices)


@st.composite
def edits(draw, least=0, most=40):
    """So many edits, one after the other, as a session makes them."""
    found, slices, classes = Edits(), st.integers(0, DEPTH - 1), st.integers(0, 1)
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=least, max_size=most)):
        t, k = draw(slices), draw(classes)
        if kind == "box":
            found = found.give(t, k, draw(given_boxes(SHAPE)))
        elif kind == "absent":
            found = found.give(t, k, GivenAbsence())
        elif kind == "mask":
            found = found.give(t, k, GivenMask.of(draw(masks(SHAPE))))
        elif kind == "forget":
            found = found.forget(t, k)
        elif kind == "travel" and (t, k) in found.corrections.given:
            found = found.travel(t, (k,), draw(slices.filter(lambda to, t=t: to != t)))
        elif kind == "lock":
            labels = np.where(draw(masks(SHAPE)), VALUES[k], 0).astype(np.uint8)
            found = found.lock(t, FrozenSlice.of(labels))
        elif kind == "release":
            found = found.release(t)
    return found


def require_survival(automatic, found):
    text = prompts_text(with_edits(automatic, found))
    again = PromptsDocument.model_validate_json(text)
    assert edits_of(again) == found
    assert prompts_text(again) == text
    assert prompts_text(with_edits(automatic, edits_of(again))) == text


@given(found=edits())
@settings(max_examples=200)
def test_edits_survive_the_file(automatic, found):
    require_survival(automatic, found)


@given(found=edits(least=200, most=200))
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
def test_two_hundred_edits_survive_the_file(automatic, found):
    require_survival(automatic, found)


def labels_with(model, volume, found):
    """Return the labels of all slices with edits, as a session shows them."""
    corrected = CorrectedVolume(model.walk(volume), len(VALUES), 2**28)
    whole = np.zeros(volume.array.shape, np.uint8)
    for part in corrected:
        whole[part.index] = part.labels
    for t in range(DEPTH):
        if found.inputs(t) != Edits().inputs(t):
            whole[t] = corrected.labels(t, found)
    return whole


@given(found=edits(most=12))
@settings(max_examples=8)
def test_a_replay_gives_the_masks_of_the_edits_bit_for_bit(model, volume, automatic, found):
    edited = PromptsDocument.model_validate_json(prompts_text(with_edits(automatic, found)))
    replayed = [segment_with_backoff(model, volume, slices_of=slices_replayed(edited)) for _ in range(2)]
    np.testing.assert_array_equal(replayed[0].labels.array, labels_with(model, volume, found))
    np.testing.assert_array_equal(replayed[0].labels.array, replayed[1].labels.array)
    assert replayed[0].prompts == replayed[1].prompts


def test_what_is_replayed_is_what_the_document_says(model, volume, automatic):
    """The document of the replayed result, with its edits, replays to itself."""
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[4:9, 5:20] = True
    found = Edits().give(2, 0, GivenMask.of(mask)).give(4, 1, GivenAbsence()).travel(2, (0,), 3)
    done = []
    slices_of = slices_replayed(with_edits(automatic, found))
    segmented = segment_with_backoff(model, volume, lambda n, total: done.append(n), slices_of)
    assert done == [1, 2, 3, 4, 5, 6, 6, 6, 6], "progress never goes back"
    np.testing.assert_array_equal(segmented.labels.array[2] == 1, mask)
    assert not (segmented.labels.array[4] == 5).any()
    assert segmented.prompts[2].organs["bright"].mask_box == (5.0, 4.0, 20.0, 9.0)
    assert segmented.prompts[4].organs["dark"].mask_box is None
    assert [part.index for part in segmented.prompts] == list(range(DEPTH))


def test_without_edits_the_volume_is_streamed(model, volume, automatic, monkeypatch):
    monkeypatch.setattr(type(model), "walk", None)
    parts = list(slices_replayed(automatic)(model, volume))
    assert [part.index for part in parts] == [part.index for part in model.slices(volume)]


def test_the_walk_and_the_chunk_are_those_of_the_document(model, automatic):
    other = with_chunk(with_walk(model, "end_to_end"), 3)
    recorded = as_recorded(other, automatic)
    assert (recorded.settings.segment.walk, recorded.settings.segment.chunk) == ("mid_to_ends", 8)
    assert recorded.sha256 == model.sha256


def test_another_engine_or_precision_than_the_documents_is_warned_of(model, automatic, caplog):
    as_recorded(model, automatic)
    assert not caplog.records
    as_recorded(model, automatic.model_copy(update={"engine": "openvino", "precision": "bf16"}))
    assert "OpenVINO in bf16, and now PyTorch in float32" in caplog.text
    assert "--engine openvino --precision bf16" in caplog.text


def test_a_locked_slice_stays_as_it_was(model, volume, automatic):
    labels = np.zeros((ROWS, COLUMNS), np.uint8)
    labels[3:5, 2:30], labels[5, 2:30] = 1, 5
    found = Edits().lock(1, FrozenSlice.of(labels)).give(2, 0, GivenAbsence())
    segmented = segment_with_backoff(model, volume, slices_of=slices_replayed(with_edits(automatic, found)))
    np.testing.assert_array_equal(segmented.labels.array[1], labels)
    assert replace(found, locked={}) != edits_of(with_edits(automatic, found)) == found
