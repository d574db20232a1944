"""Reading a case whatever is wrong with it, and its facts."""

import numpy as np
import pytest

from sautomed import errors
from sautomed.datasets import read_dataset
from sautomed.datasets.doctor.read_case import read_case

from ..block_dataset import LABELS, SPACING, affine
from .faults import float_label, truncate


def read(blocks, number):
    dataset = read_dataset(blocks.folder)
    return read_case(dataset, dataset.cases[number])


def test_a_sound_case_has_facts_and_no_faults(blocks):
    reading = read(blocks, 2)
    assert (reading.facts.faults, reading.facts.warnings, reading.facts.gap_mm) == ((), (), 0)
    assert set(reading.facts.voxels) == set(LABELS.values())
    assert reading.facts.millilitres[2] == pytest.approx(4 * 4 * 4 * np.prod(SPACING) / 1000)
    middle = affine() @ [26.5, 7.5, 2.5, 1]  # of the block of the right kidney
    np.testing.assert_allclose(reading.facts.centres_mm[2], middle[:3], atol=1e-3)


def test_a_damaged_scan_is_a_fault_and_its_label_map_is_read(blocks):
    truncate(blocks)
    reading = read(blocks, 2)
    assert reading.volume is None
    assert [type(fault) for fault in reading.facts.faults] == [errors.TruncatedFile]
    assert reading.labels is not None
    assert (reading.facts.image, reading.facts.gap_mm) == (None, None)


def test_the_stored_type_of_the_labels_is_a_fact(blocks):
    float_label(blocks)
    assert read(blocks, 2).facts.label_dtype == "float32"
