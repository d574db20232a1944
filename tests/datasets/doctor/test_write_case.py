"""File names of corrected copies."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sautomed.datasets.doctor.write_case import file_names


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=8))
def test_any_case_ids_get_file_names_of_their_own(ids):
    names = file_names(ids)
    assert list(names) == ids
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all(name and not set(name) & set('/\\:*?"<>| ') for name in names.values())
