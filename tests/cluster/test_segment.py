"""A folder of scans on a Ray cluster: what a plain run leaves, whatever happens to the workers."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from sautomed import errors
from sautomed.cluster.segment import ModelChoice, run_plan_on_ray
from sautomed.cluster.share import Cluster
from sautomed.inference.batch import plan_jobs, run_plan
from sautomed.inference.model import load
from sautomed.scans.paths import sha256_of

from .conftest import NODE

pytestmark = pytest.mark.slow
COMPARED = (".nii.gz", ".prompts.json", ".png", "summary.json", "failures.json", "labels.txt")


@pytest.fixture(scope="module")
def scans(dataset_folder, tmp_path_factory) -> Path:
    """The blocks, and a file that is no scan."""
    folder = tmp_path_factory.mktemp("scans")
    for path in (dataset_folder / "imagesTr").iterdir():
        shutil.copy(path, folder)
    (folder / "damaged.nii.gz").write_bytes(b"no scan")
    return folder


@pytest.fixture(scope="module")
def plain(scans, trained_run, tmp_path_factory) -> Path:
    """The outputs of a plain run of one thread, as a worker of one core has."""
    import torch

    folder, threads = tmp_path_factory.mktemp("plain"), torch.get_num_threads()
    torch.set_num_threads(1)
    run_plan(load(trained_run, "cpu"), plan_jobs(scans, folder))
    torch.set_num_threads(threads)
    return folder


def contents(folder):
    """Everything that does not depend on the time and the machine."""
    return {path.name: sha256_of([path]) for path in folder.iterdir() if path.name.endswith(COMPARED)}


def report_of(folder, case):
    return json.loads((folder / f"{case}.json").read_text())


def test_a_cluster_leaves_what_a_plain_run_leaves_and_skips_it_when_it_resumes(
    cluster, command, scans, plain, trained_run, tmp_path
):
    order = ("segment", "-i", scans, "-m", trained_run, "-o", tmp_path / "out", "--ray", cluster.address)
    code, output = command(*order)
    assert code == errors.SomeCasesFailed.exit_code
    assert "1 of 7 scans failed" in output
    assert contents(tmp_path / "out") == contents(plain)
    assert report_of(tmp_path / "out", "damaged") == report_of(plain, "damaged")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in plain.iterdir())
    before = report_of(tmp_path / "out", "block_0")
    (tmp_path / "out" / "block_3.nii.gz").unlink()
    code, output = command(*order, "--resume")
    assert "5 of 7 scans were done already" in output
    assert contents(tmp_path / "out") == contents(plain)
    assert report_of(tmp_path / "out", "block_0") == before


def test_a_node_that_is_killed_costs_nothing_but_time(cluster, scans, plain, trained_run, tmp_path):
    second, ended = cluster.add_node(**NODE), []

    def kill_after_the_second(done, total, case):
        ended.append(case)
        if done == 2:
            cluster.remove_node(second, allow_graceful=False)

    plan = plan_jobs(scans, tmp_path / "out")
    place = Cluster(cluster.address, device="cpu")
    outcome = run_plan_on_ray(ModelChoice(trained_run), plan, place, kill_after_the_second)
    assert sorted(ended) == sorted(job.case for job in plan.jobs)
    assert len(outcome.done) == 6
    assert [failure.job.case for failure in outcome.failures] == ["damaged"]
    assert contents(tmp_path / "out") == contents(plain)
    listed = [row["case"] for row in json.loads((tmp_path / "out" / "summary.json").read_text())["cases"]]
    assert sorted(listed) == sorted(ended)
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_ends_the_workers_and_leaves_nothing_half_written(
    cluster, command, scans, plain, trained_run, tmp_path, monkeypatch, number, code
):
    def stop_after_the_first(done, total, case):
        if done == 1:
            signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr("sautomed.cli.progress.Stages.counter", lambda *_: stop_after_the_first)
        order = ("segment", "-i", scans, "-m", trained_run, "-o", tmp_path / "out", "--ray", cluster.address)
        found, output = command(*order)
    assert found == code
    assert "Stopped." in output
    assert not list((tmp_path / "out").glob(".*"))
    assert (tmp_path / "out" / "summary.json").is_file()
    assert command(*order, "--resume")[0] == errors.SomeCasesFailed.exit_code
    assert contents(tmp_path / "out") == contents(plain)
