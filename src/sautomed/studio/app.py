"""The page and what it asks for, as an ASGI application behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import Request
from starlette.types import ASGIApp

from sautomed.errors import SautomedError
from sautomed.studio.events import Stop, Work, as_known, event_stream, fault_event
from sautomed.studio.guard import Guard
from sautomed.studio.refusals import Refused
from sautomed.studio.requests import EditRequest, MarkDone, OpenScan, SaveRequest, StepRequest, WalkRequest
from sautomed.studio.workspace import Workspace

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# FastAPI would send traces of requests to a server that the environment names (FASTAPI_OTEL_AUTO_CONFIGURE); versions
# that know nothing of it ignore this
_SIGNALS = ("tracing", "metrics", "logs", "operation_spans", "auto_configure")
_NO_TELEMETRY: dict[str, Any] = {"telemetry": dict.fromkeys(_SIGNALS, False)}
T = TypeVar("T")


def create_app(workspace: Workspace, hosts: Iterable[str], token: str) -> ASGIApp:
    """Return the application; nothing of it answers without the token (`Guard`)."""
    worker = ThreadPoolExecutor(1, "sautomed-studio")  # one session computes one thing at a time

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workspace.cancel()
        worker.shutdown()  # waits for the slice that is being done
        workspace.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan, **_NO_TELEMETRY)
    _add_page(app)
    _add_scans(app, workspace, worker)
    _add_edits(app, workspace, worker)
    for kind in (SautomedError, Refused, Exception):
        app.add_exception_handler(kind, _answer_fault)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return Guard(app, hosts, token)


def _add_page(app: FastAPI) -> None:
    """Answer with the files of the package; they are read here, so that no request leads to a path."""
    for file in files("sautomed.studio").joinpath("page").iterdir():
        media_type = _TYPES["." + file.name.rpartition(".")[2]]
        response = Response(file.read_bytes(), media_type=media_type)
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_api_route(path, _constant(response), response_class=Response)


def _constant(response: Response) -> Callable[[], Response]:
    return lambda: response


def _add_scans(app: FastAPI, workspace: Workspace, worker: ThreadPoolExecutor) -> None:
    @app.get("/api/scans")
    async def scans() -> JSONResponse:
        return JSONResponse(workspace.describe())

    @app.post("/api/open")
    async def open_scan(request: OpenScan) -> StreamingResponse:
        return _streamed(lambda emit, stop: workspace.open(request.case, emit, stop), worker)

    @app.post("/api/done")
    async def mark(request: MarkDone) -> JSONResponse:
        workspace.mark(request.case, request.done)
        return JSONResponse(workspace.describe())

    @app.get("/api/intensities/{number}/{start}/{count}")
    def intensities(number: int, start: int, count: int) -> Response:
        return Response(workspace.intensities(number, start, count), media_type="application/octet-stream")

    @app.post("/api/save")
    async def save(request: SaveRequest) -> JSONResponse:
        return JSONResponse({"files": await _in(worker, lambda: workspace.save(request))})


def _add_edits(app: FastAPI, workspace: Workspace, worker: ThreadPoolExecutor) -> None:
    @app.post("/api/edit")
    async def edit(request: EditRequest) -> JSONResponse:
        return JSONResponse(await _in(worker, lambda: workspace.edit(request.revision, request.edit)))

    @app.post("/api/undo")
    async def undo(request: StepRequest) -> JSONResponse:
        return JSONResponse(await _in(worker, lambda: workspace.undo(request.revision)))

    @app.post("/api/redo")
    async def redo(request: StepRequest) -> JSONResponse:
        return JSONResponse(await _in(worker, lambda: workspace.redo(request.revision)))

    @app.post("/api/walk")
    async def walk(request: WalkRequest) -> StreamingResponse:
        return _streamed(lambda emit, stop: workspace.walk(request, emit, stop), worker)

    @app.post("/api/cancel")
    async def cancel() -> JSONResponse:
        workspace.cancel()
        return JSONResponse({})


async def _in(worker: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(worker, work)


def _streamed(work: Work, worker: ThreadPoolExecutor) -> StreamingResponse:
    return StreamingResponse(event_stream(work, worker, Stop()), media_type="text/event-stream")


async def _answer_fault(_: Request, error: Exception) -> JSONResponse:
    known = as_known(error)
    return JSONResponse(fault_event(known), known.status if isinstance(known, Refused) else 422)


async def _answer_invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer without what was sent, which FastAPI would send back: it may be long, and no JSON."""
    return JSONResponse({"id": "invalid", "message": "This is no request of the page."}, 422)
