"""Who may ask: the checks of every request before anything else sees it, and the headers of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from hmac import compare_digest

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 2_000_000  # ours: run lengths of a painted slice of 2048 x 2048 pixels stay below
BODY_S = 10.0  # ours: a browser on the same machine sends a body at once

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address holds the token
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",  # scans are of patients
}


class _BodyTooLargeError(Exception):
    """A body has more than `MAX_BODY_BYTES`."""


class Guard:
    """Middleware that refuses whatever the page itself does not send.

    A request must name the server by a host of `hosts`, come from the page itself or from no page at all, and have the
    token as the first part of its path: then every file and every answer is behind the token, without cookies, which
    other programs on the same machine would see. The application sees the path without the token.

    Args:
        hosts: What the Host header may be, such as "127.0.0.1:8000". DNS rebinding gets no further.
        token: Random letters.
        body_s: Seconds in which a body must have arrived.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], token: str, body_s: float = BODY_S):
        self._app, self._hosts, self._token, self._body_s = app, frozenset(hosts), token, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        refusal, body = self._refusal(scope), b""
        if refusal is None and scope["method"] == "POST":
            refusal, body = await self._body(receive)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(self._without_token(scope), _replayed(body, receive), send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        fields = dict(headers)
        host = fields.get("host", "")
        if host not in self._hosts or len([name for name, _ in headers if name == "host"]) != 1:
            return _refused(403, "This name does not belong to sautomed studio.")
        if fields.get("origin", f"http://{host}") != f"http://{host}":
            return _refused(403, "Another page may not ask.")
        if fields.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _refused(403, "Another page may not ask.")
        first = scope["path"].removeprefix("/").partition("/")[0]
        if not compare_digest(first.encode(), self._token.encode()):
            return _refused(403, "Open the address that `sautomed studio` printed: it has a token, new at each start.")
        if scope["method"] not in ("GET", "POST"):
            return _refused(405, "Only GET and POST are answered.")
        if scope["method"] == "POST" and fields.get("content-type") != "application/json":
            return _refused(415, "Only JSON is read.")
        return None

    async def _body(self, receive: Receive) -> tuple[PlainTextResponse | None, bytes]:
        """Return a refusal, or else the body."""
        try:
            async with asyncio.timeout(self._body_s):
                return None, await _read_body(receive)
        except TimeoutError:
            return _refused(408, "The request took too long."), b""
        except _BodyTooLargeError:
            return _refused(413, f"A request may have {MAX_BODY_BYTES} bytes."), b""

    def _without_token(self, scope: Scope) -> Scope:
        path = scope["path"].removeprefix(f"/{self._token}") or "/"
        return {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}


def _refused(status: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(text, status, headers={"connection": "close"})


async def _read_body(receive: Receive) -> bytes:
    """Return a request's whole body; raises _BodyTooLargeError."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _BodyTooLargeError
        more = message.get("more_body", False)
    return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body first, and then waits for the end of the connection."""
    first = True

    async def replay() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *ours]}
        await send(message)

    return send_with_headers
