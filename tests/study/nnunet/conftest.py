"""Processes that must have ended."""

import time

import psutil
import pytest


@pytest.fixture
def wait_for_end():
    """Wait until processes have ended, zombies included; fail after ten seconds."""

    def wait(pids):
        for _ in range(500):
            alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
            if not alive:
                return
            time.sleep(0.02)
        raise AssertionError(f"{alive} are still running")

    return wait
