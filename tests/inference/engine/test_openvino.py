"""OpenVINO sends nothing anywhere."""

import os
import socket
import subprocess
import sys

import pytest

CONVERT = """
import torch
from sautomed.inference.engine.openvino import import_openvino

openvino = import_openvino()
model = openvino.convert_model(torch.export.export(torch.nn.Linear(2, 2).eval(), (torch.zeros(1, 2),)))
assert openvino.Core().compile_model(model, "CPU")(torch.zeros(1, 2).numpy())
import openvino_telemetry
"""


@pytest.mark.slow
def test_importing_and_converting_opens_no_connection(tmp_path):
    """All connections to elsewhere would go to this socket, also those of other processes that a library starts."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        own = {"no_proxy", "NO_PROXY", "CI"}  # with CI set, telemetry might be silent by itself
        environment = {key: value for key, value in os.environ.items() if key not in own}
        done = subprocess.run(
            [sys.executable, "-c", CONVERT],
            env=environment | dict.fromkeys(names, address) | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert "ModuleNotFoundError: import of openvino_telemetry halted" in done.stderr, done.stderr
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert list(tmp_path.rglob("*telemetry*")) == [], "it asked for consent"
