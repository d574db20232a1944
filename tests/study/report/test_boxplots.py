from pathlib import Path

import pytest

from sautomed.report.scores import CaseScore
from sautomed.study.report.boxplots import boxplots_picture, facets_of
from sautomed.study.report.cases import ReportedSystem, systems_of
from sautomed.study.report.grouping import Row, ScoredRun
from sautomed.study.report.plotting import PAGE_IN
from sautomed.study.report.runs import Run


def test_the_figure_fills_the_page(group, image_of):
    picture = image_of(boxplots_picture(systems_of(group), group.labels))
    assert (picture.format, picture.width) == ("PNG", round(PAGE_IN * 150))


def test_a_point_is_a_patient_over_seeds_and_scans():
    runs = []
    for seed, dsc in enumerate(([0.2, 0.4, 0.9], [0.4, 0.6, 0.7])):
        run = Run(f"{seed}", "A", "a", "d", 0, "done", Path("x"), seed=seed, patients={"case_0": "p", "case_1": "p"})
        scores = [CaseScore(f"case_{i}", 1, "liver", {"dsc": value}, "scored") for i, value in enumerate(dsc)]
        runs.append(ScoredRun(run, tuple(scores)))
    overall, liver, spleen = facets_of(ReportedSystem(Row(tuple(runs)), 0), {1: "liver", 2: "spleen"})
    assert sorted(overall) == sorted(liver) == pytest.approx([0.4, 0.8])
    assert spleen == []
