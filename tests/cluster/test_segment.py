"""A folder of scans on a Ray cluster: what a plain run leaves, whatever happens to the workers."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from sautomed import errors
from sautomed.cluster.case_worker import ModelChoice
from sautomed.cluster.segment import run_plan_on_ray
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


def test_a_node_that_is_killed_costs_nothing_but_time(cluster, scans, plain, trained_run, tmp_path, monkeypatch):
    second, ready, ended = cluster.add_node(**NODE), [], []

    def note_ready(outcome, worker):
        ready.append(worker.machine)

    def kill_once_both_work(done, total, case):
        ended.append(case)
        if len(ready) >= 2 and second in cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    monkeypatch.setattr("sautomed.cluster.segment._Outcome.note_ready", note_ready)
    plan = plan_jobs(scans, tmp_path / "out")
    place = Cluster(cluster.address, device="cpu")
    outcome = run_plan_on_ray(ModelChoice(trained_run), plan, place, kill_once_both_work)
    assert sorted(ended) == sorted(job.case for job in plan.jobs)
    assert second not in cluster.worker_nodes  # both worked, or nothing was killed; Ray may start a third in its place
    assert len(outcome.done) == 6
    assert [failure.job.case for failure in outcome.failures] == ["damaged"]
    masks = {name: sha256 for name, sha256 in contents(plain).items() if "itksnap" not in name}
    assert contents(tmp_path / "out") == masks
    listed = [row["case"] for row in json.loads((tmp_path / "out" / "summary.json").read_text())["cases"]]
    assert sorted(listed) == sorted(ended)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_stop_ends_the_workers_and_the_rest_is_done_when_it_resumes(
    cluster, command, scans, plain, trained_run, tmp_path, monkeypatch
):
    def stop_after_the_first(done, total, case):
        if done == 1:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("sautomed.cli.progress.Stages.counter", lambda *_: stop_after_the_first)
        order = ("segment", "-i", scans, "-m", trained_run, "-o", tmp_path / "out", "--ray", cluster.address)
        found, output = command(*order)
    assert found == errors.EXIT_TERMINATED
    assert "Stopped." in output
    assert not list((tmp_path / "out").glob(".*"))
    assert (tmp_path / "out" / "summary.json").is_file()
    code, output = command(*order, "--resume")
    assert code == errors.SomeCasesFailed.exit_code
    assert "1 of 7 scans failed" in output
    assert "1 of 7 scans were done already" in output or "2 of 7" in output
    assert contents(tmp_path / "out") == contents(plain)
    assert report_of(tmp_path / "out", "damaged") == report_of(plain, "damaged")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in plain.iterdir())
