"""Standard output and error without a reader."""

import io
import os
from pathlib import Path

import pytest

from sautomed.cli.streams import without_reader_errors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has other pipes and terminals")


@pytest.fixture
def open_stream():
    """Open a descriptor for writing text, as Python opens standard output; it is closed at the end."""
    opened = []

    def make(descriptor):
        opened.append(descriptor)
        return io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), "ascii", "backslashreplace")

    yield make
    for descriptor in opened:
        os.close(descriptor)


def test_what_is_read_arrives_in_the_encoding_of_the_stream(open_stream):
    reading, writing = os.pipe()
    stream = without_reader_errors(open_stream(writing))
    stream.write("Bézier\n")
    stream.flush()
    assert os.read(reading, 100) == b"B\\xe9zier\n"
    os.close(reading)


def test_a_closed_pipe_raises_nothing(open_stream):
    reading, writing = os.pipe()
    os.close(reading)
    stream = without_reader_errors(open_stream(writing))
    for _ in range(2):
        assert stream.write("lost\n" * 10_000) == 50_000
        stream.flush()


def test_a_closed_terminal_raises_nothing(open_stream):
    ours, theirs = os.openpty()
    stream = without_reader_errors(open_stream(theirs))
    assert stream.isatty()
    os.close(ours)
    stream.write("lost\n")
    stream.flush()
    assert not stream.isatty()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_reported(open_stream):
    stream = without_reader_errors(open_stream(os.open("/dev/full", os.O_WRONLY)))
    stream.write("lost\n")
    with pytest.raises(OSError, match="No space left"):
        stream.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # so that it can be closed


def test_another_kind_of_stream_stays():
    stream = io.StringIO()
    assert without_reader_errors(stream) is stream
