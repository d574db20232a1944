"""Ray on this machine: heard by nobody else, and gone when its work is done."""

import json
import os
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

IMPORTED_WITH = """
import sys
from importlib.abc import MetaPathFinder
class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "ray":
            import os
            print(os.environ.get("RAY_USAGE_STATS_ENABLED"))
            sys.exit()
sys.meta_path.insert(0, Finder())
import sautomed.cluster.connection as connection
connection.find_spec = lambda name: name
with connection.connected("auto"):
    pass
"""


@pytest.mark.parametrize("given", [{}, {"RAY_USAGE_STATS_ENABLED": "1"}])
def test_statistics_of_usage_are_off_before_ray_is_imported(given, monkeypatch):
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", IMPORTED_WITH], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


# In a process of its own, as Ray keeps for good whether it uses tokens.
LOCAL = """
import json, os, signal, subprocess, sys, threading, time
import psutil
from sautomed.cli.stopping import stops_raised
from sautomed.cluster.connection import connected
from sautomed.errors import STOP_SIGNALS, Terminated

JOINING = "import ray, sys; ray.init(sys.argv[1])"
before, found = [signal.getsignal(number) for number in STOP_SIGNALS], {}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # as Slurm does with a task of one core
try:
    with stops_raised(), connected("auto"):
        import ray
        from ray._common.usage import usage_lib
        found["cores"] = int(ray.cluster_resources()["CPU"])
        found["reports"] = [usage_lib.usage_stats_enabled(),
                            ray.get(ray.remote(num_cpus=1)(lambda: usage_lib.usage_stats_enabled()).remote())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
        order = [sys.executable, "-c", JOINING, ray.get_runtime_context().gcs_address]
        joined = subprocess.run(order, env={**environment, "RAY_gcs_server_port_wait_time_s": "1"}, capture_output=True)
        found["others join"] = joined.returncode == 0
        started = psutil.Process().children(recursive=True)
        sockets = [socket for process in started for socket in process.net_connections("inet")]
        found["addresses"] = sorted({socket.raddr.ip for socket in sockets if socket.raddr})
        forever = ray.remote(num_cpus=1)(lambda: time.sleep(600)).remote()
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        ray.get(forever)
except KeyboardInterrupt as stop:
    found["stop"] = type(stop).__name__
found["left"] = [process.name() for process in started if process.is_running() and process.status() != "zombie"]
found["handlers"] = [signal.getsignal(number) for number in STOP_SIGNALS] == before
print(json.dumps(found))
"""


def test_a_local_ray_obeys_and_tells_nobody_else_and_ends_with_what_stops_the_command():
    done = subprocess.run([sys.executable, "-c", LOCAL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    assert {address.removeprefix("::ffff:") for address in found.pop("addresses")} <= own
    assert found.pop("cores") == 1 or not hasattr(os, "sched_setaffinity")
    assert found == {
        "reports": [False, False], "others join": False, "stop": "Terminated", "left": [], "handlers": True
    }  # fmt: skip
