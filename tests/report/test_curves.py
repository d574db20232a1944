"""The learning curve and the log it is drawn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from sautomed.errors import BadTable, MissingFile
from sautomed.report.curves import draw_learning_curve, moving_mean, read_log

HEADER = "step,elapsed_s,lr,loss,ce,dice,box,presence,val_dsc\n"


def write_log(path, rows: str):
    path.write_text(HEADER + rows)
    return path


def test_blank_fields_are_not_measured(tmp_path):
    log = write_log(tmp_path / "log.csv", "10,5.5,0.001,0.8,0.7,0.9,0.1,0.1,\n20,11,,,,,,,0.61\n")
    curve = read_log(log)
    seconds, steps, values = curve.measured("val_dsc")
    assert (seconds.tolist(), steps.tolist(), values.tolist()) == ([11.0], [20.0], [0.61])
    assert curve.measured("loss")[2].tolist() == [0.8]


@pytest.mark.parametrize(
    "rows",
    [
        "",
        "10,5,0.001,0.8,0.7,0.9,0.1,0.1,\n",
        "".join(f"{i},{i * 200},1e-3,{1 / i},1,1,0,0,0.5\n" for i in range(1, 60)),
    ],
    ids=["no row yet", "one row", "hours"],
)
def test_any_log_gives_a_picture(tmp_path, rows):
    draw_learning_curve(write_log(tmp_path / "log.csv", rows), tmp_path / "curve.png")
    assert imread(tmp_path / "curve.png").shape[1] > 800


def test_what_is_measured_is_drawn(tmp_path):
    rows = "".join(f"{i},{i},1e-3,{1 / i},1,1,0,0,0.5\n" for i in range(1, 60))
    draw_learning_curve(write_log(tmp_path / "a.csv", ""), tmp_path / "a.png")
    draw_learning_curve(write_log(tmp_path / "b.csv", rows), tmp_path / "b.png")
    has_red = [
        (np.abs(255 * imread(tmp_path / f"{n}.png")[..., :3] - [0x8C, 0x2D, 0x3F]).max(axis=2) < 6).any() for n in "ab"
    ]
    assert has_red == [False, True]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=400))
def test_the_moving_mean_stays_within_its_values(values):
    smooth = moving_mean(np.array(values))
    assert len(smooth) == len(values)
    assert smooth.min() >= min(values) - 1e-6
    assert smooth.max() <= max(values) + 1e-6


def test_the_moving_mean_keeps_a_constant_also_at_the_ends():
    assert np.allclose(moving_mean(np.full(200, 0.7)), 0.7)


def test_a_log_that_is_none_is_refused_by_name(tmp_path):
    with pytest.raises(MissingFile):
        read_log(tmp_path / "log.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadTable, match="val_dsc"):
        read_log(tmp_path / "other.csv")
    with pytest.raises(BadTable, match="oops"):
        read_log(write_log(tmp_path / "bad.csv", "oops,1,,,,,,,\n"))
