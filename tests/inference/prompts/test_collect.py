"""The document of a scan is collected while it is segmented."""

from dataclasses import replace

import numpy as np
import pytest

from sautomed.inference.prompts.collect import PromptCollector, model_identity, prompts_document, scan_identity
from sautomed.scans import ReadOptions

from ..conftest import LABELS


@pytest.fixture
def volume(model, write, tmp_path):
    return model.read(write(tmp_path / "a.nii.gz"))


@pytest.fixture
def parts(model, volume):
    return list(model.slices(volume))


def collected(parts):
    collector = PromptCollector(LABELS)
    for part in parts:
        collector.add(part)
    return collector.slices


def test_boxes_are_those_that_prompted_a_slice_and_those_of_its_masks(parts):
    slices = collected(parts)
    assert [part.index for part in slices] == list(range(6))
    for part in parts:
        for k, (value, organ) in enumerate(LABELS.items()):
            prompt = slices[part.index].organs[organ]
            rows, columns = np.nonzero(part.labels == value)
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
            assert prompt.mask_box == tight
            assert (prompt.box is None) == np.isnan(part.boxes[k]).any()
            assert prompt.box is None or prompt.box == pytest.approx(part.boxes[k], abs=0.0051)
            assert prompt.presence == pytest.approx(part.presence[k], abs=0.000051)
            assert prompt.confidence == pytest.approx(part.signals.soft_dice[k], abs=0.000051)
            assert (prompt.source, prompt.given) == ("auto", None)
    assert any(prompt.box for part in slices for prompt in part.organs.values())
    assert all(prompt.box is None for prompt in slices[3].organs.values()), "the walk begins there and knows nothing"


def test_of_a_slice_that_comes_again_the_last_counts(parts):
    again = replace(parts[0], mask_boxes=np.full((2, 4), np.nan, np.float32))
    prompt = collected([*parts, again])[parts[0].index].organs["dark"]
    assert (prompt.mask_box, prompt.confidence) == (None, None)  # without a mask nothing is sure of it


def test_a_system_without_box_prompts_has_none(parts):
    assert collected([replace(part, presence=None) for part in parts]) == ()


def test_the_document_names_the_scan_and_the_model(model, volume, parts):
    scan = scan_identity(volume, "0" * 64, ReadOptions(frame=2, resample=True))
    found = prompts_document(scan, model, 8, collected(parts))
    assert (found.scan.name, found.scan.shape, found.scan.plane) == ("a.nii.gz", volume.array.shape, "axial")
    assert np.allclose(found.scan.affine, volume.affine)
    assert (found.scan.read.frame, found.scan.read.resample) == (2, True)
    assert found.model == model_identity(model)
    assert (found.model.id, found.model.sha256) == ("small", model.sha256)
    assert (found.walk, found.chunk, found.organs) == ("mid_to_ends", 8, {"bright": 1, "dark": 5})


def test_a_name_that_is_not_utf_8_can_be_written(volume):
    odd = replace(volume, path=volume.path.with_name("a\udcff.nii.gz"))
    assert scan_identity(odd, None, ReadOptions()).name == r"a\udcff.nii.gz"
