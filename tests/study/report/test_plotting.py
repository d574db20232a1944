from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

from sautomed.study.report.plotting import SYSTEM_COLOURS, line_style, shortened, system_colour


def test_systems_that_the_colour_blind_confuse_have_other_lines():
    """Machado et al. 2009, IEEE TVCG 15(6): protanopia and deuteranopia as matrices of linear light."""
    looks = np.array([to_rgb(system_colour(place)) for place in range(len(SYSTEM_COLOURS))]) ** 2.2
    for seen_by in (
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    ):
        seen = np.clip(looks @ np.transpose(seen_by), 0, 1) ** (1 / 2.2)
        for a, b in combinations(range(len(seen)), 2):
            alike = np.linalg.norm(seen[a] - seen[b]) < 0.12
            assert not alike or line_style(a, False) != line_style(b, False), (a, b)


def test_no_two_systems_are_drawn_alike():
    drawn = [(system_colour(place), line_style(place, False)) for place in range(3 * len(SYSTEM_COLOURS))]
    assert len(set(drawn)) == len(drawn)
    assert {line_style(place, True) for place in range(30)}.isdisjoint(style for _, style in drawn)


def test_long_names_are_cut():
    assert shortened("SAM") == "SAM"
    assert len(shortened("x" * 80)) == 34
