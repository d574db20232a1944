"""Runs in several places: a case with its report, a list of scans, an S3 server."""

import csv

import pytest


@pytest.fixture
def reported(run, write, tmp_path):
    """CASE.json of a case that is done in two formats."""
    run(write(tmp_path / "in" / "a.nii.gz"), tmp_path / "out", report=True, preview=True, formats=("nii.gz", "nii"))
    return tmp_path / "out" / "a.json"


@pytest.fixture
def write_list(tmp_path):
    """Write rows, the first of which names the columns, as a CSV file."""

    def write_rows(*rows, name="cohort.csv"):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        return tmp_path / name

    return write_rows


@pytest.fixture
def run_list(model):
    """Plan a list and run it, as the command line does."""
    from sautomed.inference.batch import SegmentOptions, plan_list, run_plan

    def run_all(scan_list, output, on_slice=None, shard=None, **options):
        options = {"preview": False} | options
        return run_plan(model, plan_list(scan_list, output, SegmentOptions(**options), shard), on_slice)

    return run_all
