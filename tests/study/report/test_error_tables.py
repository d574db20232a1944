import numpy as np
import pytest

from sautomed.study.report.cases import systems_of
from sautomed.study.report.error_tables import causes_picture, error_tables, places_picture
from sautomed.study.report.plotting import PAGE_IN
from sautomed.study.report.slice_errors import BINS, CAUSES, PLACES, SystemErrors


def errors_of(group, ml: float = 2.0) -> dict[str, SystemErrors]:
    causes = dict.fromkeys(CAUSES, ml)
    one = SystemErrors(dict.fromkeys(group.labels, causes), dict.fromkeys(PLACES, 0.5), np.full(BINS, 0.5), cases=8)
    return {row.name: one for row in group.rows}


def test_the_figures_fill_the_page(group, image_of):
    systems, errors = systems_of(group), errors_of(group)
    for url in (causes_picture(systems, errors, group.labels), places_picture(systems, errors)):
        assert (image_of(url).format, image_of(url).width) == ("PNG", round(PAGE_IN * 150))


def test_error_tables_add_up(group):
    overall, by_organ, places = error_tables(group, systems_of(group), errors_of(group))
    assert len(by_organ.rows) == len(group.rows) * len(group.labels)
    for table, organs in ((overall, len(group.labels)), (by_organ, 1)):
        for row in table.rows:
            numbers = [cell.value for cell in row.cells if np.isfinite(cell.value)]
            assert numbers[-1] == pytest.approx(sum(numbers[:-1])) == pytest.approx(2.0 * organs * len(CAUSES))
    assert [column.key for column in places.columns] == list(PLACES)
    assert len({overall.name, by_organ.name, places.name}) == 3
