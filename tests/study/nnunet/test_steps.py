"""Steps in nnU-Net's process: they end with the process that started them; none of this needs nnU-Net."""

import os
import time

import psutil
import pytest

from sautomed.study.nnunet.steps import end_with_parent

needs_posix = pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no groups of processes")


@needs_posix
def test_a_step_whose_parent_is_killed_ends_with_its_workers(wait_for_end):
    standard_input, other_end = os.pipe()
    worker_id, send_id = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(standard_input, 0)
        os.close(other_end)
        worker = os.fork()
        if worker:
            os.write(send_id, f"{worker} ".encode())
            end_with_parent()
        time.sleep(600)
        os._exit(0)
    worker = int(os.read(worker_id, 20))
    assert psutil.pid_exists(worker)
    os.close(other_end)
    wait_for_end([child, worker])
