"""The server: one address, one token, until it is stopped."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from sautomed.errors import UsageError
from sautomed.studio.app import create_app
from sautomed.studio.sockets import BoundedProtocol
from sautomed.studio.workspace import Workspace

LOOPBACK = "127.0.0.1"
_GRACE_S = 3  # ours: in which open answers may end when the server stops


@dataclass(frozen=True)
class Address:
    """Where the server listens. The token is new at each start."""

    listening: socket.socket
    host: str
    token: str

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call the server."""
        names = (LOOPBACK, "localhost") if self.host == LOOPBACK else (self.host,)
        return tuple(f"{_bracketed(name)}:{self.port}" for name in names)

    @property
    def url(self) -> str:
        return f"http://{self.hosts[0]}/{self.token}/"


def listen(host: str = LOOPBACK, port: int = 0) -> Address:
    """Take a port.

    Args:
        host: One address or name of this machine.
        port: 0 takes any that is free.
    Raises:
        UsageError: It is taken, or the address is none of this machine, or stands for all of them.
    """
    if host in ("", "0.0.0.0", "::", "*"):
        raise UsageError(
            "stands for all addresses of this machine, so that no request can be checked for the one it is meant for.",
            where="--host", cure="Give the one address or name that browsers will use.",
        )  # fmt: skip
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot be listened on: {error}.", where=f"{host}:{port}",
            cure="Leave out --port, which takes one that is free, and --host.",
        ) from error  # fmt: skip
    return Address(listening, host, secrets.token_urlsafe(24))


def serve(workspace: Workspace, address: Address, on_ready: Callable[[], None]) -> None:
    """Answer until Ctrl-C or SIGTERM, which are raised again when all is closed."""
    with address.listening:
        make_server(workspace, address, on_ready).run(sockets=[address.listening])


def make_server(workspace: Workspace, address: Address, on_ready: Callable[[], None]) -> uvicorn.Server:
    """Return the server; it ends when its `should_exit` is set, too."""
    config = uvicorn.Config(
        create_app(workspace, address.hosts, address.token),
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=16_384,
    )
    return _ReadyServer(config, on_ready)


class _ReadyServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]):
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
