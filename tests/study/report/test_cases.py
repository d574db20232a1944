import json

import numpy as np
import pytest

from sautomed.errors import MissingFile
from sautomed.study.report.cases import choose_cases, open_dataset, read_boxes, read_case, systems_of
from sautomed.study.report.grouping import comparable_groups
from sautomed.study.report.runs import read_study


@pytest.fixture
def systems(fake_study):
    return systems_of(comparable_groups(read_study(fake_study))[0])


def test_the_cases_are_the_same_for_all_and_oracles_do_not_choose(systems):
    chosen = choose_cases(systems)
    assert [one.role for one in chosen] == ["best", "median", "worst"]
    assert chosen[0].dsc >= chosen[1].dsc >= chosen[2].dsc
    assert len({one.case for one in chosen}) == 3
    assert choose_cases([system for system in systems if not system.is_oracle]) == chosen


def test_a_case_is_read_with_all_its_label_maps_and_boxes(systems):
    shown = read_case(open_dataset(systems), "case_5", systems)
    assert set(shown.predictions) == {system.name for system in systems}
    assert all(found.array.shape == shown.scan.array.shape for found in shown.predictions.values())
    assert set(shown.boxes) == {"3D-SAutoMed", "Slide-SAM"}
    for index, boxes in shown.boxes["Slide-SAM"].items():
        for value, (x0, y0, x1, y1) in boxes.items():
            rows, columns = np.nonzero(shown.truth.array[index] == value)
            assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (y0, y1, x0, x1)


def test_boxes_of_another_plane_are_not_shown(study_copy, change_run):
    change_run(study_copy, "slide_sam__blobs__fold1__seed0", plane="coronal")
    systems = systems_of(comparable_groups(read_study(study_copy))[0])
    assert set(read_case(open_dataset(systems), "case_5", systems).boxes) == {"3D-SAutoMed"}


def test_a_system_has_its_colour_in_every_table(fake_study):
    home, apart = comparable_groups(read_study(fake_study))
    assert [system.place for system in systems_of(home)] == [0, 1, 2, 3]
    assert [(system.name, system.place) for system in systems_of(apart)] == [("MA-SAM", 4)]


def test_a_system_without_a_usable_label_map_does_not_take_the_others(study_copy):
    systems = systems_of(comparable_groups(read_study(study_copy))[0])
    broken = next(system for system in systems if system.name == "SAMed")
    run = broken.run_of("case_5")
    run.prediction_of("case_5").write_bytes(b"no label map")
    shown = read_case(open_dataset(systems), "case_5", systems)
    assert "SAMed" not in shown.predictions
    assert "TransUNet" in shown.predictions


def test_a_case_that_the_dataset_lost_is_named(systems):
    with pytest.raises(MissingFile, match="case_99"):
        read_case(open_dataset(systems), "case_99", systems)


@pytest.mark.parametrize("content", ["{}", "[]", "no json", json.dumps({"slices": {"a": {}}}),
                                     json.dumps({"slices": {"1": {"1": [1, 2, 3]}}})])  # fmt: skip
def test_boxes_that_cannot_be_read_are_none(tmp_path, content):
    path = tmp_path / "case.json"
    path.write_text(content)
    assert read_boxes(path) == {}
    assert read_boxes(tmp_path / "absent.json") == {}
