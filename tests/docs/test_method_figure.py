"""docs/method.svg can be drawn again, and is the same each time."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_method_figure", DOCS / "make_method_figure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_is_drawn_the_same_each_time(script, tmp_path):
    first, second = (script.save(tmp_path / name).read_bytes() for name in ("first.svg", "second.svg"))
    assert first == second
    assert first.startswith(b"<?xml")


def test_every_organ_of_the_figure_is_in_its_slices(script):
    images, labels = script.phantom_slices()
    assert images.shape == labels.shape
    assert 0 <= images.min() < images.max() <= 1
    assert set(script.ORGANS) <= set(labels[script.T].ravel().tolist())


def test_no_words_of_the_figure_overlap(script):
    figure = script.draw()
    figure.canvas.draw()
    words = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in words]
    overlapping = [
        (name, other) for i, (name, box) in enumerate(boxes) for other, second in boxes[:i] if box.overlaps(second)
    ]
    assert overlapping == []
