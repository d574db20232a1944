"""A document of prompts: what is rounded, what it refuses, and how edits are put in."""

import json

import pytest
from hypothesis import given
from pydantic import ValidationError

from sautomed.inference.prompts.document import (
    Carried,
    GivenAbsence,
    GivenBox,
    GivenMask,
    LockedSlice,
    OrganPrompt,
    PromptsDocument,
)

from .documents import document, documents


def test_what_is_computed_is_rounded_and_what_was_given_is_not():
    prompt = OrganPrompt(presence=0.123456, source="auto", box=(1.00499, 2.0, 3.3333, 4.0), mask_box=None)
    assert (prompt.presence, prompt.box) == (0.1235, (1.0, 2.0, 3.33, 4.0))
    assert str(OrganPrompt(presence=0.0, source="auto", box=(-0.001, 0.0, 1.0, 1.0), mask_box=None).box[0]) == "0.0"
    assert GivenBox(box=(1 / 3, 0.1, 2 / 3, 0.2)).box == (1 / 3, 0.1, 2 / 3, 0.2)


def test_what_is_given_stands_in_its_slice_with_its_box():
    runs = (13, 2, 10, 2, 69)  # two pixels on each of two rows of 12
    box, mask = GivenBox(box=(1 / 3, 1.0, 4.0, 7.999)), GivenMask(runs=runs)
    edited = document().with_edits({(1, "liver"): box, (2, "liver"): GivenAbsence(), (0, "spleen"): mask}, (), ())
    prompts = {(part.index, organ): prompt for part in edited.slices for organ, prompt in part.organs.items()}
    assert prompts[1, "liver"].box == (0.33, 1.0, 4.0, 8.0)
    assert prompts[2, "liver"].box is None
    assert prompts[0, "spleen"].box == (1.0, 1.0, 3.0, 3.0)
    assert [key for key, prompt in prompts.items() if prompt.source == "given"] == list(edited.given())
    assert prompts[1, "liver"].mask_box == (1.0, 2.0, 4.0, 6.0)
    assert not document().has_edits
    assert edited.has_edits


def test_a_locked_slice_or_what_was_carried_is_an_edit_too():
    assert document(locked=(LockedSlice(index=1, masks={}),)).has_edits
    assert document(carried=(Carried(index=1, organ="liver", given=GivenAbsence(), slices=(2,)),)).has_edits


def changed(path, value):
    content = json.loads(document().model_dump_json(by_alias=True))
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(content)


AUTO = {"presence": 0.5, "source": "auto", "box": None, "mask_box": None, "confidence": None, "given": None}
LIVER = ("slices", 1, "organs", "liver")
GIVEN = (*LIVER, "given")


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("schema",), "sautomed prompts 2", "schema"),
        (("colour",), "red", "colour"),
        (("scan", "shape"), [4, 8, 12], "from 0 to 3"),
        (("scan", "shape"), [10**30, 8, 12], "from 0 to"),
        (("scan", "shape"), [0, 8, 12], "greater than or equal to 1"),
        (("scan", "sha256"), "a" * 63, "pattern"),
        (("scan", "plane"), "oblique", "plane"),
        (("slices", 1, "index"), 2, "from 0 to 2"),
        (("slices", 1, "organs"), {"liver": AUTO}, "slice 1 has not the organs"),
        (("organs",), {}, "at least 1"),
        (("organs",), {"liver": 1, "spleen": 1}, "one value"),
        (("organs",), {"liver": 1, "spleen": True}, "valid integer"),
        (("walk",), "sideways", "walk"),
        (("chunk",), 0, "chunk"),
        ((*LIVER, "presence"), 1.5, "less than or equal to 1"),
        ((*LIVER, "presence"), "0.5", "valid number"),
        ((*LIVER, "box"), [1, 2, 3], "box"),
        ((*LIVER, "box"), [1, 2, 3, 1e999], "finite"),
        ((*LIVER, "source"), "given", "if and only if"),
        (LIVER, AUTO | {"given": {"kind": "not here"}}, "if and only if"),
        (LIVER, AUTO | {"source": "given", "given": {"kind": "guess"}}, "kind"),
        (LIVER, AUTO | {"source": "given", "given": {"kind": "box", "box": [5, 1, 5, 4]}}, "no area"),
        (LIVER, AUTO | {"source": "given", "given": {"kind": "box", "box": [0, 0, 12.1, 8]}}, "no area"),
        (LIVER, AUTO | {"source": "given", "given": {"kind": "mask", "runs": [95]}}, "pixels of a slice"),
        (LIVER, AUTO | {"source": "given", "given": {"kind": "mask", "runs": [97, -1]}}, "greater than or equal"),
        (("carried",), [{"index": 3, "organ": "liver", "given": {"kind": "not here"}, "slices": []}], "carried"),
        (("carried",), [{"index": 1, "organ": "lung", "given": {"kind": "not here"}, "slices": []}], "carried"),
        (("locked",), [{"index": 1, "masks": {"liver": [95]}}], "locked slice 1"),
        (("locked",), [{"index": 1, "masks": {"lung": [96]}}], "organ that is not there"),
        (("locked",), [{"index": 1, "masks": {}}, {"index": 1, "masks": {}}], "twice"),
        (("locked",), [{"index": 3, "masks": {}}], "not there"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(path, value, fault):
    assert PromptsDocument.model_validate_json(changed(("walk",), "end_to_end"))
    with pytest.raises(ValidationError, match=fault):
        PromptsDocument.model_validate_json(changed(path, value))


@given(documents())
def test_edits_put_into_the_automatic_document_again_are_the_same(found):
    plain = found.model_copy(
        update={
            "slices": tuple(
                part.model_copy(
                    update={
                        "organs": {
                            organ: prompt.model_copy(update={"source": "auto", "given": None})
                            for organ, prompt in part.organs.items()
                        }
                    }
                )
                for part in found.slices
            )
        }
    )
    assert plain.with_edits(found.given(), found.carried, found.locked) == found
