"""Refusals of Ray as an engine, followed to the letter."""

import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from sautomed.cluster.case_worker import ModelChoice
from sautomed.cluster.connection import connected, require_ray
from sautomed.cluster.crew import Crew
from sautomed.cluster.segment import run_plan_on_ray
from sautomed.cluster.share import Cluster, Share, choose_share
from sautomed.cluster.shared_folder import require_shared
from sautomed.config.version import __version__
from sautomed.inference.batch import Failure, Job
from sautomed.scans.files import probe_in

from ..cluster.fake_ray import Call, Worker, install

ray = pytest.importorskip("ray")
ROOT = Path(__file__).parents[2]
JOBS = [Job(f"case {number}", Path(f"{number}.nii.gz"), ()) for number in range(3)]


def connect(address):
    with connected(address):
        pass


@pytest.fixture
def answering(monkeypatch):
    """The address of a head that answers, and a Ray that lets this machine join it."""
    joined = []
    monkeypatch.setattr(ray, "init", lambda **options: joined.append(options["address"]))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.create_server((ray.util.get_node_ip_address(), 0)) as server:
        yield "{}:{}".format(*server.getsockname())


def test_ray_that_is_not_installed(refuse_call, monkeypatch):
    monkeypatch.setattr("sautomed.cluster.connection.find_spec", lambda name: None)
    refusal = refuse_call("cluster/connection.py require_ray PackageMissing", require_ray)
    extra = refusal.take(r'pip install "sautomed\[(\w+)\]"')
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    monkeypatch.setattr("sautomed.cluster.connection.find_spec", lambda name: name)
    refusal.works()


@pytest.mark.parametrize("address", ["here", "10.0.0.1:", ":6379", "ray://10.0.0.1:10001", ""])
def test_an_address_that_is_none(refuse_call, answering, address):
    refusal = refuse_call("cluster/connection.py _require_answer NoCluster", connect, address)
    refusal.asks("Give auto for this machine", "the address that `ray start --head` printed")
    refusal.works(answering)
    refusal.works("auto")


def test_an_address_at_which_nobody_listens(refuse_call, answering):
    with socket.create_server((ray.util.get_node_ip_address(), 0)) as server:
        free = server.getsockname()[1]
    refusal = refuse_call("cluster/connection.py _require_answer NoCluster 2", connect, f"127.0.0.1:{free}")
    refusal.asks("Start a cluster with `ray start --head`, give the address that it prints", "give auto")
    refusal.works(answering)
    refusal.works("auto")


def test_a_cluster_of_another_version(refuse_call, answering, monkeypatch):
    def refuse_join(**options):
        if options["address"] != "local":
            raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.0.0\n    Python: 3.9.0")

    with monkeypatch.context() as patched:
        patched.setattr(ray, "init", refuse_join)
        refusal = refuse_call("cluster/connection.py _refused NoCluster", connect, answering)
        assert "Ray: 2.0.0" in str(refusal.error)
        refusal.asks("Use one version of Python, Ray and sautomed", "give auto for this machine alone").works("auto")
    refusal.works(answering)


@pytest.fixture
def machine_of(monkeypatch):
    return lambda **resources: monkeypatch.setattr("sautomed.cluster.share.living_machines", lambda: {"1": resources})


def test_a_device_that_there_is_not(refuse_call, machine_of):
    machine_of(CPU=4.0)
    refusal = refuse_call("cluster/share.py choose_share UsageError", choose_share, Cluster("auto", device="gpu"))
    for device in ("auto", "cpu"):
        refusal.asks("Use auto, cpu or cuda").works(Cluster("auto", device=device))


def test_a_gpu_that_no_machine_has(refuse_call, machine_of):
    machine_of(CPU=4.0)
    refusal = refuse_call("cluster/share.py choose_share UsageError 2", choose_share, Cluster("auto", device="cuda"))
    for device in ("auto", "cpu"):
        refusal.asks("Use auto or cpu").works(Cluster("auto", device=device))


def test_more_cores_than_any_machine_has(refuse_call, machine_of):
    machine_of(CPU=4.0)
    refusal = refuse_call("cluster/share.py choose_share UsageError 3", choose_share, Cluster("auto", cores=5))
    cores = int(refusal.take(r"Give --ray-cores (\d+) or fewer, or leave it out"))
    assert cores == 4
    refusal.works(Cluster("auto", cores=cores))
    refusal.works(Cluster("auto"))


def carry_out(*workers):
    """Let a crew of two at a time do the jobs; raises what a case failed with."""
    waiting = iter(workers)
    for _, result in Crew(lambda: next(waiting), Share(1, 0), lambda ready: None).results(JOBS):
        if isinstance(result.end, Failure):
            raise result.end.error


def test_workers_of_another_version_of_sautomed(refuse_call, monkeypatch):
    install(monkeypatch)
    workers = [Worker(version="0.0.0"), Worker()]
    refusal = refuse_call("cluster/crew.py _welcome NoCluster 3", carry_out, *reversed(workers))
    assert __version__ in str(refusal.error)
    refusal.asks("Install the same version of sautomed").works(Worker(), Worker())


@pytest.mark.parametrize("model", [("other", "PyTorch in float32"), ("hash", "PyTorch in bf16")])
def test_workers_with_another_model_or_precision(refuse_call, monkeypatch, model):
    install(monkeypatch)
    refusal = refuse_call("cluster/crew.py _welcome NoCluster 4", carry_out, Worker(model=model), Worker())
    refusal.asks("Give -m a folder that all machines share, with --precision and --engine by name")
    refusal.works(Worker(), Worker())


def test_workers_that_cannot_import_sautomed(refuse_call, monkeypatch):
    install(monkeypatch)

    class Importing(Worker):
        def _prepare(self):
            raise ray.exceptions.RayTaskError("prepare", "", ImportError("no sautomed"))

    refusal = refuse_call("cluster/crew.py _welcome NoCluster", carry_out, Importing(), Importing())
    refusal.asks("Install the same version of sautomed").works(Worker(), Worker())


def test_workers_that_die_while_they_start(refuse_call, monkeypatch):
    install(monkeypatch)
    dying = [Worker({"prepare"}) for _ in range(100)]
    refusal = refuse_call("cluster/crew.py _welcome NoCluster 2", carry_out, *dying)
    refusal.asks("Install the same version of sautomed, Ray and Python on every machine").works(Worker(), Worker())


def test_a_case_that_loses_every_worker(refuse_call, monkeypatch):
    install(monkeypatch)
    dying = [Worker({"case 1"}) for _ in range(10)]
    refusal = refuse_call("cluster/crew.py _given_up WorkerLost", carry_out, *dying)
    refusal.asks("Run it again with --resume").works(Worker(), Worker())


def test_a_run_of_a_study_that_loses_every_worker(refuse_call, monkeypatch, dataset_folder, tmp_path):
    from sautomed.cluster import study
    from sautomed.study import StudyRequest, run_study
    from sautomed.study.folder import StudyFolder

    lost = [True]

    class Task:
        def remote(self, run, shared):
            return Call(None, (run, shared))

    def get(reference):
        if lost[0]:
            raise ray.exceptions.WorkerCrashedError
        return study._carry_out(*reference.arguments)

    @contextmanager
    def connected_to_none(address):
        yield

    for name, fake in {"get": get, "put": lambda value: value, "remote": lambda **_: lambda function: Task(),
                       "wait": lambda calls, **_: (calls, [])}.items():  # fmt: skip
        monkeypatch.setattr(ray, name, fake)
    monkeypatch.setattr(study, "connected", connected_to_none)
    monkeypatch.setattr(study, "choose_share", lambda cluster: Share(1, 0))
    monkeypatch.setattr(study, "slots", lambda share: 1)
    file = tmp_path / "study.yaml"
    file.write_text("{title: One, data: [{name: blocks}], models: [{label: A, preset: tiny, left_out: later}]}")

    def carry_out(resume):
        request = StudyRequest(file, tmp_path / "out", resume, folders={"blocks": dataset_folder})
        outcome = run_study(request, engine=study.study_engine(Cluster("auto")))
        assert outcome.counts == {"left_out": 1}

    from sautomed.errors import SomeCasesFailed, WorkerLost

    def carry_out_and_raise(resume):
        try:
            carry_out(resume)
        except SomeCasesFailed as failed:
            (run,) = failed.result.failed
            record = StudyFolder(tmp_path / "out").read_record(run)
            assert record["error"]["id"] == WorkerLost.id
            raise caught[0] from failed

    caught = []
    made = study._lost
    monkeypatch.setattr(study, "_lost", lambda *given: caught.append(made(*given)) or caught[0])
    refusal = refuse_call("cluster/study.py _lost WorkerLost", carry_out_and_raise, False)
    lost[0] = False
    refusal.asks("Run the study again with --resume").works(True)


def test_prompts_of_one_scan(refuse, command, dataset_folder, trained_run, tmp_path):
    scan = dataset_folder / "imagesTr" / "block_0_0000.nii.gz"
    order = ("segment", "-i", scan, "-m", trained_run)
    assert command(*order, "-o", tmp_path / "first.nii.gz")[0] == 0
    replayed = (*order, "--prompts", tmp_path / "first.prompts.json", "-o", tmp_path / "second.nii.gz")
    refusal = refuse("cluster/segment.py run_plan_on_ray UsageError", *replayed, "--ray", "auto")
    refusal.asks("Leave out --ray")
    assert command(*replayed)[0] == 0


def test_a_folder_that_is_not_shared(refuse_call, tmp_path):
    with probe_in(tmp_path / "mine") as probe:
        elsewhere = tmp_path / "theirs" / probe.name
        refusal = refuse_call("cluster/shared_folder.py require_shared UnwritableTarget", require_shared, elsewhere)
        refusal.asks("Give -o a folder that all machines share").works(probe)


def test_a_model_that_is_none_is_refused_before_ray_is_started(refuse_call, tmp_path, monkeypatch):
    from sautomed.inference.batch import Plan

    started = []
    monkeypatch.setattr(ray, "init", lambda **_: started.append(1))
    missing = ModelChoice(tmp_path / "none")
    refuse_call("inference/model.py model_folder NotAModel", run_plan_on_ray, missing, Plan(()), Cluster("auto"))
    assert started == []
