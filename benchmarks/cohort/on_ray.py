"""The cohort on a Ray cluster of two nodes of this machine, of which one is killed midway."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cohort.outputs import ONE_THREAD, done, segment

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """Start a head and a second node, with a core each; yield the cluster and the second node."""
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    second = {**options, "node_ip_address": "127.0.0.2"}  # so that the command joins the head
    cluster = Cluster(initialize_head=True, head_node_args=options)
    try:
        yield cluster, cluster.add_node(**second)
    finally:
        cluster.shutdown()


def run_on_ray(scans: Path, output: Path, cases: int, kill_after: int | None) -> float:
    """Segment the cohort on two nodes, kill one when so many cases are done, and return the seconds."""
    with two_nodes() as (cluster, second):
        began = time.perf_counter()
        process = subprocess.Popen(
            [*segment(scans, output, "--ray", cluster.address), "-q"], env=ONE_THREAD, stdout=subprocess.DEVNULL
        )
        if kill_after is not None:
            while done(output) < kill_after and process.poll() is None:
                time.sleep(0.05)
            cluster.remove_node(second, allow_graceful=False)
            print(f"  killed a Ray node with {done(output)} of {cases} cases done")
        code = process.wait()
        if code:
            raise SystemExit(f"segment --ray ended with exit code {code}")
        return time.perf_counter() - began


def seconds_beyond(cases: int, work_s: float, cores: int) -> float:
    """Return the seconds that Ray adds to each case, measured with cases that sleep, without what starts and ends."""
    from sautomed.cluster.case_worker import CaseResult, Ready
    from sautomed.cluster.connection import connected
    from sautomed.cluster.crew import Crew
    from sautomed.cluster.share import Share
    from sautomed.config.version import __version__
    from sautomed.inference.batch import Job

    class Sleeper:
        def prepare(self) -> Ready:
            return Ready({}, __version__, "", (None, ""))

        def carry_out(self, job: Job, again: bool) -> CaseResult:
            time.sleep(work_s)
            return CaseResult("done")

    with connected("auto"):
        import ray  # after it has been set up

        share, ready = Share(1, 0), list[float]()
        worker = ray.remote(num_cpus=1)(Sleeper)
        jobs = [Job(f"case {number}", Path(f"{number}"), ()) for number in range(cases)]
        crew = Crew(worker.remote, share, lambda _: ready.append(time.perf_counter()))
        for _ in crew.results(jobs):
            ended = time.perf_counter()
    return (ended - max(ready)) * cores / cases - work_s
