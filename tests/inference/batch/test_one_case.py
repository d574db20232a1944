"""One case by itself, as a worker of a cluster does it."""

import json

import numpy as np
import pytest

from sautomed import errors
from sautomed.inference import memory
from sautomed.inference.batch import SegmentOptions, plan_jobs
from sautomed.inference.batch.one_case import CaseRunner


@pytest.fixture
def scans(write, tmp_path):
    """A scan that cannot be segmented, which its header does not show, and one with too little memory for it."""
    write(tmp_path / "in" / "constant.nii.gz", np.zeros((24, 24, 3)))
    write(tmp_path / "in" / "huge.nii.gz")
    return tmp_path / "in"


def test_a_case_that_fails_is_reported_as_in_a_plain_run(scans, run, model, tmp_path, monkeypatch):
    def choose_chunk(geometry, *_):
        if geometry.path.name == "huge.nii.gz":
            raise errors.MemoryShortage("needs too much.", where=geometry.path, cure="Use a larger machine.")
        return 1, memory.MemoryNeed(0, 0, 0, 0)

    monkeypatch.setattr("sautomed.inference.batch.preflight.choose_chunk", choose_chunk)
    run(scans, tmp_path / "plain")
    plan = plan_jobs(scans, tmp_path / "alone", SegmentOptions(preview=False))
    runner = CaseRunner(model, plan)
    assert [runner.carry_out(job).error.id for job in plan.jobs] == ["SAM-E0306", "SAM-E0501"]
    for case in ("constant", "huge"):
        report = json.loads((tmp_path / "alone" / f"{case}.json").read_text())
        assert report == json.loads((tmp_path / "plain" / f"{case}.json").read_text())
        assert len(report["input"]["shape"]) == 3
