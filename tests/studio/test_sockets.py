"""Connections that are too many, too slow or no HTTP keep nobody out."""

import contextlib
import os
import socket

import pytest

from sautomed.studio import guard, sockets

from .conftest import running, write_scans

LIMIT = sockets.MAX_CONNECTIONS


def is_cut(connection: socket.socket) -> bool:
    """Return whether the server cuts a connection, after at most its own time limit."""
    try:
        return connection.recv(1) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True


def request(studio, path="api/scans", more="") -> bytes:
    place = f"/{studio.address.token}/{path}"
    return f"GET {place} HTTP/1.1\r\nHost: 127.0.0.1:{studio.address.port}\r\n{more}\r\n".encode()


def test_a_thousand_open_connections_keep_nobody_out(closed_studio):
    with contextlib.ExitStack() as opened:
        for _ in range(10):
            batch = [opened.enter_context(contextlib.closing(closed_studio.connect())) for _ in range(100)]
            assert closed_studio.ask("api/scans").status == 200
            for connection in batch[:-LIMIT]:
                assert is_cut(connection)
                connection.close()


def test_the_server_holds_few_of_many_connections(closed_studio):
    held = f"/proc/{os.getpid()}/fd"
    if not os.path.isdir(held):  # noqa: PTH112
        pytest.skip("counts open files where Linux lists them")
    before = len(os.listdir(held))  # noqa: PTH208
    with contextlib.ExitStack() as opened:
        for _ in range(3 * LIMIT):
            opened.enter_context(contextlib.closing(closed_studio.connect()))
        assert closed_studio.ask("api/scans").status == 200
        theirs = len(os.listdir(held)) - before - 3 * LIMIT  # noqa: PTH208
        assert theirs <= LIMIT + 8


def test_a_connection_with_a_request_is_not_cut_for_newer_ones(closed_studio):
    with contextlib.closing(closed_studio.connect()) as patient, contextlib.ExitStack() as opened:
        patient.sendall(request(closed_studio))
        assert patient.recv(15).startswith(b"HTTP/1.1 200")
        for _ in range(LIMIT // 2):
            opened.enter_context(contextlib.closing(closed_studio.connect()))
        assert closed_studio.ask("api/scans").status == 200


@pytest.fixture(scope="module")
def hasty(tmp_path_factory):
    """A server that waits a moment only."""
    folder = tmp_path_factory.mktemp("hasty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "REQUEST_S", 0.2)
        patch.setattr(sockets, "STALLED_S", 0.2)
        patch.setattr(guard.Guard.__init__, "__defaults__", (0.2,))
        with running(write_scans(folder / "scans"), folder / "out") as found:
            yield found


@pytest.mark.parametrize("start", [b"", b"G", b"GET /", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"])
def test_a_client_that_does_not_finish_its_request_is_cut(hasty, start):
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(start)
        assert is_cut(connection)
    assert hasty.ask("api/scans").status == 200


def test_a_client_that_starts_a_second_request_and_waits_is_cut(hasty):
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(request(hasty))
        answer = b""
        while not answer.endswith(b"}]}"):
            answer += connection.recv(65536)
        connection.sendall(b"GET /")
        assert is_cut(connection)


def test_a_client_that_does_not_send_its_body_is_refused(hasty):
    fields = "Content-Type: application/json\r\nContent-Length: 100\r\n"
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(request(hasty, "api/edit", fields).replace(b"GET", b"POST") + b"{")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_a_client_that_does_not_read_is_cut(hasty):
    with contextlib.closing(hasty.connect()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(20)
        too_many = request(hasty, "main.js") * 200_000  # more answers, and requests, than any buffer holds
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(too_many)
    assert hasty.ask("api/scans").status == 200


GARBAGE = [
    b"\x00" * 5000, b"\xff\xfe\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"GET / HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n" * 3000, b"A" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("target", ["*", "x:1", "http://example.org/", ""])
def test_a_target_that_is_no_path_is_refused(hasty, target):
    name = f"127.0.0.1:{hasty.address.port}"
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(f"OPTIONS {target} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        assert connection.recv(12) in (b"HTTP/1.1 403", b"HTTP/1.1 400")


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_refused_and_changes_nothing(hasty, garbage):
    with contextlib.closing(hasty.connect()) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(garbage)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
    assert answer == b"" or answer.split()[1] in (b"400", b"403", b"404", b"431")
    assert hasty.ask("api/scans").status == 200
