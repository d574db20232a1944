"""Every layout can be examined and copied."""

import numpy as np
import pytest

from sautomed.datasets import DATASETS, read_dataset
from sautomed.datasets.doctor import case_checks as checks
from sautomed.datasets.doctor.anatomy import relations_of
from sautomed.datasets.doctor.examine import examine, fix
from sautomed.datasets.doctor.read_case import read_case
from sautomed.inference.preview import thumbnail_png

from ..miniatures import write_miniature


@pytest.fixture
def any_intensity(monkeypatch):
    """Skip the check of intensities: the miniatures have too little air for CT."""
    others = tuple(check for check in checks.CASE_CHECKS if check is not checks.unlikely_intensities)
    monkeypatch.setattr(checks, "CASE_CHECKS", others)


@pytest.mark.parametrize("layout", DATASETS)
def test_every_layout_is_examined_and_copied_voxel_for_voxel(written, layout, tmp_path, any_intensity):
    folder, _ = written(layout)
    diagnosis = examine(folder, layout, thumbnail=thumbnail_png)
    assert (diagnosis.layout, diagnosis.needs_mending) == (layout, False), diagnosis.findings
    assert len(diagnosis.pictures) == len(diagnosis.cases)
    mended = fix(diagnosis, tmp_path / "copy")
    dataset, copy = read_dataset(folder, layout), read_dataset(tmp_path / "copy")
    assert (copy.labels, copy.channel) == (dataset.labels, dataset.channel)
    assert all("same scan" in why for why in mended.left_out.values())  # as one patient's sequences are in miniature
    cases = {case.id: case for case in dataset.cases}
    assert {case.id for case in copy.cases} == set(mended.changes)
    for copied in copy.cases:
        case = cases[copied.id]
        before, after = dataset.load(case), copy.load(copied)
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one.array, other.array)
            np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)


@pytest.mark.parametrize("layout", ["btcv", "chaos-t2spir"])
def test_organs_are_recognised_by_the_names_of_the_layout(written, layout):
    dataset = read_dataset(written(layout)[0], layout)
    facts = read_case(dataset, dataset.cases[0]).facts
    places = {dataset.labels[value]: place for value, place in facts.centres_mm.items()}
    assert any(relation.twins for relation in relations_of(places))


@pytest.mark.parametrize(
    ("layout", "pattern"), [("nnunet-raw", "labelsTr/*"), ("btcv", "**/label0*"), ("segthor", "**/GT*")]
)
def test_a_lost_label_map_does_not_end_the_examination(layout, pattern, tmp_path, any_intensity):
    write_miniature(layout, tmp_path / "data", ("1", "2", "3"))
    sorted((tmp_path / "data").glob(pattern))[0].unlink()
    diagnosis = examine(tmp_path / "data", layout)
    errors = diagnosis.of_severity("error")
    assert [(finding.check, finding.error_id) for finding in errors] == [("pairs", "SAM-E0313")]
    assert len(diagnosis.cases) == 3
    assert len(fix(diagnosis, tmp_path / "copy").changes) == 2
