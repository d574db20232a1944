"""Connections are bounded in number and in time, so that idle and slow ones keep nobody out."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64  # ours: a browser opens six
REQUEST_S = 10.0  # ours: in which the head of a request must have arrived
STALLED_S = 30.0  # ours: in which a client must read on


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 over a connection that is cut if it has no request in time or does not read its answer.

    If there are too many, the one that has been without a request the longest makes room for the new one; if all have
    a request, the new one is cut.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = self.loop.call_later(REQUEST_S, transport.abort)
        self._stalled: asyncio.TimerHandle | None = None
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline = _cancelled(self._deadline)
        self._stalled = _cancelled(self._stalled)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and not self._has_request():
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)
        super().data_received(data)
        if self._has_request():
            self._deadline = _cancelled(self._deadline)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._stalled = self._stalled or self.loop.call_later(STALLED_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled = _cancelled(self._stalled)
        super().resume_writing()

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, BoundedProtocol) and c is not self]
        idle = [c for c in others if not c._has_request() and not c.transport.is_closing()]
        victim = min(idle, key=lambda c: c._idle_since, default=self)
        victim.transport.abort()
        self.connections.discard(victim)  # its `connection_lost` comes later; more may arrive before


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
