"""FILE.prompts.json: what is written is read back to the last byte, and what is hostile is refused."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sautomed.errors import BadPrompts, MissingFile
from sautomed.inference.prompts import file as prompts_file
from sautomed.inference.prompts.document import GivenAbsence
from sautomed.inference.prompts.file import prompts_text, read_prompts, write_prompts

from .documents import document, documents

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@given(documents())
@in_one_folder
def test_what_is_written_and_read_is_written_again_byte_for_byte(tmp_path, found):
    path = tmp_path / "a.prompts.json"
    write_prompts(path, found)
    again = read_prompts(path)
    assert again == found
    first = path.read_bytes()
    write_prompts(path, again)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.prompts.json"]


def test_an_edit_is_a_line_that_differs():
    before = prompts_text(document()).splitlines()
    after = prompts_text(document().with_edits({(1, "liver"): GivenAbsence()}, (), ())).splitlines()
    assert len(before) == len(after)
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [
        '   "liver": {"presence": 0.9, "source": "given", "box": null, "mask_box": [1.0, 2.0, 4.0, 6.0], '
        '"confidence": null, "given": {"kind": "not here"}},'
    ]


def test_the_text_is_json_with_a_schema():
    content = json.loads(prompts_text(document()))
    assert content["schema"] == "sautomed prompts 1"
    assert content["slices"][2]["organs"]["spleen"]["source"] == "auto"


HOSTILE = [
    b"", b"\0" * 99, b"{", b"[]", b"null", b'"a"', b"{}", b"[" * 10**5, b'{"schema": ' + b"9" * 10**5 + b"}",
    b'{"schema": "sautomed prompts 1"}', b'{"schema": "\\ud800"}', b'{"schema": NaN}', b"\xff\xfe{}",
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE)
def test_what_is_no_document_is_refused(tmp_path, content):
    path = tmp_path / "a.prompts.json"
    path.write_bytes(content)
    with pytest.raises(BadPrompts, match=r"a\.prompts\.json: is no file of prompts"):
        read_prompts(path)


@given(st.data(), st.binary(max_size=6))
@example(None, b"")
@in_one_folder
def test_a_document_with_damaged_bytes_is_read_or_refused(tmp_path, data, damage):
    content = prompts_text(document()).encode()
    start = 0 if data is None else data.draw(st.integers(0, len(content)))
    path = tmp_path / "a.prompts.json"
    path.write_bytes(content[:start] + damage + content[start + len(damage) + 1 :])
    with suppress(BadPrompts):  # and no other error
        found = read_prompts(path)
        assert all(part.organs.keys() == found.organs.keys() for part in found.slices)


@pytest.mark.parametrize("name", ['"\\ud800"', '"\\udcff\\ud800"'])
def test_half_a_character_in_a_name_is_refused(tmp_path, name):
    path = tmp_path / "a.prompts.json"
    path.write_text(prompts_text(document()).replace('"a.nii.gz"', name))
    with pytest.raises(BadPrompts):
        read_prompts(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_numbers_that_are_none_are_refused(tmp_path, number):
    path = tmp_path / "a.prompts.json"
    path.write_text(prompts_text(document()).replace("6.5", number, 1))
    with pytest.raises(BadPrompts):
        read_prompts(path)


def test_another_version_is_named(tmp_path):
    path = tmp_path / "a.prompts.json"
    path.write_text(prompts_text(document()).replace("sautomed prompts 1", "sautomed prompts 7"))
    with pytest.raises(BadPrompts, match="format 'sautomed prompts 7', but this version reads 'sautomed prompts 1'"):
        read_prompts(path)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.prompts.json"
    write_prompts(path, document())
    monkeypatch.setattr(prompts_file, "LARGEST_BYTES", path.stat().st_size - 1)
    with pytest.raises(BadPrompts, match="larger than"):
        read_prompts(path)


def test_no_file(tmp_path):
    with pytest.raises(MissingFile):
        read_prompts(tmp_path / "a.prompts.json")


def test_a_file_that_may_not_be_read_is_named_with_what_to_change(tmp_path, closed):
    path = tmp_path / "a.prompts.json"
    write_prompts(path, document())
    closed.add(path)
    with pytest.raises(MissingFile, match="may not be read: permission denied") as caught:
        read_prompts(path)
    assert (caught.value.where, caught.value.cure) == (str(path), "Change its permissions.")
    closed.clear()
    assert read_prompts(path) == document()
