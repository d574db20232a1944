import json

import pytest

from sautomed.study.report.facts import headline, study_facts
from sautomed.study.report.grouping import comparable_groups
from sautomed.study.report.runs import read_study


@pytest.mark.parametrize(("minutes", "shown"), [(1440.2, "1440"), (20.0, "20"), (0.25, "0.25"), (None, None)])
def test_the_budget_is_in_plain_figures(study_copy, change_run, minutes, shown):
    for run in read_study(study_copy).runs:
        if run.status == "done":
            costs = json.loads((run.folder / "run.json").read_text())["costs"]
            change_run(study_copy, run.id, costs={**costs, "train_minutes": minutes})
    study = read_study(study_copy)
    facts = dict(study_facts(study, comparable_groups(study)))
    assert facts.get("budget") == (shown and [f"{shown} minutes of training per run"])
    assert facts["runs"] == ["9 done, 3 failed, 2 left out"]


def test_the_headline_names_the_best_system_with_its_score(group, tables):
    assert headline(group, list(tables.values())).startswith(
        "Best mean DSC of the systems without prompts from the truth: 3D-SAutoMed, 0.99"
    )
    assert headline(group, []) == ""
