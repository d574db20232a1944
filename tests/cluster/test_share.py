"""What each worker takes of a machine, and how many fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sautomed.cluster.share import Cluster, Share, choose_share, slots

machines = st.fixed_dictionaries({"CPU": st.integers(0, 64), "GPU": st.integers(0, 8), "memory": st.just(64e9)})


@pytest.fixture
def cluster_of(monkeypatch):
    def arrange(*resources):
        found = {str(number): resource for number, resource in enumerate(resources)}
        monkeypatch.setattr("sautomed.cluster.share.living_machines", lambda: found)

    return arrange


@given(machines, st.integers(1, 8), st.integers(0, 1))
def test_the_workers_of_a_machine_never_take_more_than_it_has(machine, cores, gpus):
    share = Share(cores, gpus)
    fitting = share.fitting(machine)
    assert fitting * cores <= machine["CPU"]
    assert fitting * gpus <= machine["GPU"]
    assert max(fitting, 1) * share.memory_gb(machine) == pytest.approx(64)


def test_auto_takes_gpus_if_there_are_any_and_cores_otherwise(cluster_of):
    cluster_of({"CPU": 16.0, "GPU": 4.0}, {"CPU": 64.0})
    share = choose_share(Cluster("auto", cores=2))
    assert (share.device, slots(share)) == ("cuda", 4)
    assert choose_share(Cluster("auto", cores=2, device="cpu")).device == "cpu"
    cluster_of({"CPU": 3.0}, {"CPU": 64.0})
    share = choose_share(Cluster("auto", cores=2))
    assert (share.device, slots(share)) == ("cpu", 33)
