"""What is read of CASE.json, whatever lies under its name."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.inference.batch.report_parts import SCHEMA
from sautomed.studio.review import MAX_BYTES, MAX_LETTERS, MAX_TEXTS, Review, read_review

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def write(path, **content):
    path.write_text(json.dumps({"schema": SCHEMA} | content))
    return path


def test_flags_and_the_least_sure_organ_are_read(tmp_path):
    path = write(tmp_path / "a.json", least_sure=0.61, review=["liver: slices 3-7: thin"], organs=[{"value": 1}])
    assert read_review(path) == Review(least_sure=0.61, review=("liver: slices 4-8: thin",))  # the page counts from 1


@pytest.mark.parametrize("content", [{}, {"least_sure": None, "review": []}])
def test_a_result_without_them_says_nothing(tmp_path, content):
    assert read_review(write(tmp_path / "a.json", **content)) == Review()


@pytest.mark.parametrize("text", ["[]", "3", '{"schema": "another"}', '{"EchoTime": 1, "review": ["x"]}'])
def test_another_file_of_this_name_says_nothing(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert read_review(tmp_path / "a.json") == Review()


def test_no_file_says_nothing_and_neither_does_a_folder_or_a_pipe(tmp_path):
    assert read_review(tmp_path / "a.json") == Review()
    (tmp_path / "a.json").mkdir()
    assert read_review(tmp_path / "a.json") == Review()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "b.json")
        assert read_review(tmp_path / "b.json") == Review()


HEAD = '{"schema": "sautomed case 1", '
DAMAGED = [
    b"", b"{", b"\xff\xfe", b"[" * 100_000, b"\x1f\x8b", *(
        (HEAD + text).encode() for text in (
            '"least_sure": NaN}', '"least_sure": 1e999}', '"least_sure": -0.1}', '"least_sure": 1.5}',
            '"least_sure": "0.5"}', '"least_sure": true}', '"review": "liver"}', '"review": [3]}', '"review": [["x"]]}',
            '"review": {"a": 1}}', '"least_sure": ' + "9" * 5000 + "}",
        )
    ),
    b" " * (MAX_BYTES + 1),
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_one_is_something_to_look_at(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    found = read_review(tmp_path / "a.json")
    assert found.least_sure is None
    assert found.review == ("a.json cannot be read: nothing is known of how sure the result is",)


@given(least_sure=VALUES, review=VALUES)
def test_whatever_it_says_the_page_gets_numbers_and_short_texts(tmp_path_factory, least_sure, review):
    found = read_review(write(tmp_path_factory.mktemp("x") / "a.json", least_sure=least_sure, review=review))
    assert found.least_sure is None or 0 <= found.least_sure <= 1
    json.dumps(found.model_dump(), allow_nan=False).encode()
    "".join(found.review).encode()


def test_letters_that_no_encoding_has_are_replaced(tmp_path):
    (tmp_path / "a.json").write_text(HEAD + '"review": ["liver \\ud800"]}')
    assert read_review(tmp_path / "a.json").review[0].encode().startswith(b"liver ")


def test_long_lists_and_texts_are_cut(tmp_path):
    found = read_review(write(tmp_path / "a.json", review=["x" * 1000] * 500))
    assert found.review == ("x" * MAX_LETTERS,) * MAX_TEXTS
