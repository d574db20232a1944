"""A real server on loopback over a small scan, without a network behind it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ..conftest import make_case, write_scan
from .stand_in import StandInSession

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self) -> list[dict]:
        return [json.loads(line.removeprefix("data: ")) for line in self.body.decode().split("\n\n") if line]


class RunningStudio:
    """A server in a thread, and what a page would ask it."""

    def __init__(self, workspace, address):
        self.workspace, self.address = workspace, address

    def ask(self, path, body=None, *, method=None, headers=None, token=None, raw=False) -> Answer:
        """Send one request; `body` as JSON, and with raw=True as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port, timeout=20)
        place = f"/{self.address.token if token is None else token}/{path}"
        data = body if raw or body is None else json.dumps(body)
        fields = ({"Content-Type": "application/json"} if body is not None else {}) | (headers or {})
        try:
            connection.request(method or ("GET" if body is None else "POST"), place, data, fields)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def open(self, case="block_0"):
        return self.ask("api/open", {"case": case}).events[-1]

    def edit(self, revision, **edit) -> Answer:
        return self.ask("api/edit", {"revision": revision, "edit": edit})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.address.port), timeout=20)


@contextmanager
def running(source: Path, output: Path, open_session=StandInSession) -> Iterator[RunningStudio]:
    """Serve a folder until the end of the block."""
    from sautomed.studio.folder import ScanFolder
    from sautomed.studio.server import listen, make_server
    from sautomed.studio.workspace import Workspace

    def window_of(volume):
        return float(volume.array.min()), float(volume.array.max())

    workspace = Workspace(ScanFolder(source, output), open_session, window_of, "stand-in")
    address, ready = listen(), threading.Event()
    server = make_server(workspace, address, ready.set)
    thread = threading.Thread(target=lambda: server.run(sockets=[address.listening]))
    thread.start()
    assert ready.wait(20)
    try:
        yield RunningStudio(workspace, address)
    finally:
        server.should_exit = True
        thread.join(20)
        address.listening.close()
    assert not thread.is_alive()


def write_scans(folder: Path) -> Path:
    for number in range(2):
        write_scan(folder / f"block_{number}.nii.gz", np.round(make_case(number)[0]))
    return folder


@pytest.fixture
def scans(tmp_path) -> Path:
    """Two small scans."""
    return write_scans(tmp_path / "scans")


@pytest.fixture(scope="module")
def closed_studio(tmp_path_factory):
    """A server that the tests of a module share; they open no scan."""
    folder = tmp_path_factory.mktemp("closed")
    with running(write_scans(folder / "scans"), folder / "out") as found:
        yield found


@pytest.fixture
def studio(scans, tmp_path):
    with running(scans, tmp_path / "out") as found:
        yield found
