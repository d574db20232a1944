import base64
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from sautomed.study.report.boxplots import boxplots_picture, facets_of
from sautomed.study.report.cases import System, systems_of
from sautomed.study.report.curves import curves_picture
from sautomed.study.report.error_tables import causes_picture, error_tables, places_picture
from sautomed.study.report.grouping import Row, ScoredRun, comparable_groups
from sautomed.study.report.plotting import PAGE_IN, SYSTEM_COLOURS, line_style, shortened, system_colour
from sautomed.study.report.runs import CaseScore, Run, read_study
from sautomed.study.report.slice_errors import BINS, CAUSES, PLACES, SystemErrors


@pytest.fixture
def group(fake_study):
    return comparable_groups(read_study(fake_study))[0]


def image_of(url: str) -> Image.Image:
    assert url.startswith("data:image/png;base64,")
    return Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))


def errors_of(group, ml: float = 2.0) -> dict[str, SystemErrors]:
    causes = dict.fromkeys(CAUSES, ml)
    one = SystemErrors(dict.fromkeys(group.labels, causes), dict.fromkeys(PLACES, 0.5), np.full(BINS, 0.5), cases=8)
    return {row.name: one for row in group.rows}


def test_charts_fill_the_page(group):
    systems, errors = systems_of(group), errors_of(group)
    for url in (
        boxplots_picture(systems, group.labels),
        curves_picture(systems),
        causes_picture(systems, errors, group.labels),
        places_picture(systems, errors),
    ):
        assert image_of(url).width == round(PAGE_IN * 150)


def test_without_a_log_there_is_no_picture_of_learning(study_copy):
    for path in (study_copy / "trainings").rglob("log.csv"):
        path.write_text("step\n")
    systems = systems_of(comparable_groups(read_study(study_copy))[0])
    assert curves_picture(systems) == ""


def test_error_tables_add_up(group):
    overall, by_organ, places = error_tables(group, systems_of(group), errors_of(group))
    assert len(by_organ.rows) == len(group.rows) * len(group.labels)
    for table, organs in ((overall, len(group.labels)), (by_organ, 1)):
        for row in table.rows:
            numbers = [cell.value for cell in row.cells if np.isfinite(cell.value)]
            assert numbers[-1] == pytest.approx(sum(numbers[:-1])) == pytest.approx(2.0 * organs * len(CAUSES))
    assert [column.key for column in places.columns] == list(PLACES)
    assert len({overall.name, by_organ.name, places.name}) == 3


def test_a_point_is_a_patient_over_seeds_and_scans():
    runs = []
    for seed, dsc in enumerate(([0.2, 0.4, 0.9], [0.4, 0.6, 0.7])):
        run = Run(f"{seed}", "A", "a", "d", 0, "done", Path("x"), seed=seed, patients={"case_0": "p", "case_1": "p"})
        scores = [CaseScore(f"case_{i}", 1, "liver", {"dsc": value}, "scored") for i, value in enumerate(dsc)]
        runs.append(ScoredRun(run, tuple(scores)))
    overall, liver, spleen = facets_of(System(Row(tuple(runs)), 0), {1: "liver", 2: "spleen"})
    assert sorted(overall) == sorted(liver) == pytest.approx([0.4, 0.8])
    assert spleen == []


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
