import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sautomed.report.study.boxplots import boxplots_picture
from sautomed.report.study.cases import systems_of
from sautomed.report.study.curves import curves_picture
from sautomed.report.study.error_tables import causes_picture, error_tables, places_picture
from sautomed.report.study.grouping import comparable_groups
from sautomed.report.study.ink import PAGE_IN, shortened
from sautomed.report.study.runs import read_study
from sautomed.report.study.slice_errors import BINS, CAUSES, PLACES, SystemErrors


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


def test_long_names_are_cut():
    assert shortened("SAM") == "SAM"
    assert len(shortened("x" * 80)) == 34
