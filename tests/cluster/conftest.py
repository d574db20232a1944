"""A Ray cluster on this machine: a head with one core, to which tests may add nodes."""

import os

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported: the head of this cluster is ours
HEAD = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
NODE = {**HEAD, "node_ip_address": "127.0.0.2"}  # so that a driver joins the head, which no test kills


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args=HEAD)
    yield started
    started.shutdown()
