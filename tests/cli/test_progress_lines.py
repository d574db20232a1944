"""Lines about progress: when they come, and what they say."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.cli.progress_lines import GAPS_S, VERBOSE_GAPS_S, Lines


class Clock:
    """Time that passes only when a test says so."""

    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def printed():
    return []


@pytest.fixture
def lines(printed, clock):
    return Lines(printed.append, GAPS_S, clock)


def test_the_first_line_comes_at_once_and_then_ever_fewer(lines, clock, printed):
    times = []
    for second in range(3600):
        clock.now_s = second
        lines.show("", "Training", second, 10_000, f"step {second}")
        if len(printed) > len(times):
            times.append(second)
    assert times == [0, 10, 40, 100, 220, *range(520, 3600, 300)]


def test_with_more_lines_the_gaps_are_shorter():
    assert max(VERBOSE_GAPS_S) <= min(GAPS_S)
    assert list(GAPS_S) == sorted(GAPS_S)


def test_news_and_the_end_are_never_left_out(lines, printed):
    for step in range(1, 6):
        lines.show("", "Training", step, 5, f"step {step}", news=step == 3)
    lines.show("", "Training", 5, 5, "step 5")
    assert printed == ["Training 20 %: step 1", "Training 60 %: step 3", "Training 100 %: step 5"]


def test_the_time_left_follows_the_speed(lines, clock, printed):
    for done in range(5):
        lines.show("", "Scoring", done, 100, f"{done}/100")
        clock.now_s += 40
    assert printed[1:3] == ["Scoring 1 %, 1:06:00 left: 1/100", "Scoring 2 %, 1:05:20 left: 2/100"]


def test_what_was_done_before_says_nothing_about_the_speed(lines, clock, printed):
    """Half of the cases were done by an earlier call, and are passed over in no time; the others take 20 s each."""
    for done in range(1, 51):
        lines.show("", "Segmenting", done, 100, f"{done}/100")
    clock.now_s += 20
    lines.show("", "Segmenting", 51, 100, "51/100")
    assert printed[-1] == "Segmenting 51 %, 0:16:20 left: 51/100"


def test_the_stages_of_another_run_begin_anew_and_name_it(lines, printed):
    for run in ("SAMed, chaos, fold 0", "SAMed, chaos, fold 1"):
        lines.show(run, "Training", 0.1, 1, "step 1")
    assert printed == ["SAMed, chaos, fold 0: Training 10 %: step 1", "SAMed, chaos, fold 1: Training 10 %: step 1"]


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), min_size=1, max_size=60))
def test_without_news_no_two_lines_are_closer_than_the_smallest_gap(reports):
    printed, clock, times, last = [], Clock(), [], 0
    lines = Lines(printed.append, GAPS_S, clock)
    for number, (pause_s, news) in enumerate(reports):
        clock.now_s += pause_s
        lines.show("", "Training", number, 1000, f"step {number}", news=news)
        if len(printed) > last:
            times.append((clock.now_s, news))
        else:
            assert not news
        last = len(printed)
    assert all(news or now - before >= GAPS_S[0] for (before, _), (now, news) in pairwise(times))
