"""Ray on this machine: heard by nobody else, and gone when its work is done."""

import ipaddress
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from sautomed.cli.stopping import stops_raised
from sautomed.cluster.connection import connected
from sautomed.errors import Terminated

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


def test_a_local_ray_speaks_with_this_machine_alone_and_ends():
    from ray._private.usage import usage_lib

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    known = set(psutil.Process().children(recursive=True))
    with connected("auto"):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        assert not usage_lib.usage_stats_enabled()
        assert not ray.get(ray.remote(num_cpus=1)(lambda: usage_lib.usage_stats_enabled()).remote())
        started = set(psutil.Process().children(recursive=True)) - known
        connections = [found for process in started for found in process.net_connections("inet")]
        remote = {found.raddr.ip for found in connections if found.raddr}
        listening = {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    assert started
    assert all(ipaddress.ip_address(address).is_loopback for address in remote | listening), (remote, listening)
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not ray.is_initialized()


def test_what_stops_a_command_while_ray_waits_is_what_stops_it():
    with stops_raised(), pytest.raises(Terminated), connected("auto"):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        ray.get(ray.remote(num_cpus=1)(time.sleep).remote(600))
    assert not ray.is_initialized()
