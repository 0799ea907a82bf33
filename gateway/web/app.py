"""The app: routes, guards and their order."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

import gateway
from gateway.domain.errors import GatewayError
from gateway.web import (
    alerts,
    auth,
    calibration,
    commands,
    devices,
    history,
    meters,
    people,
    probes,
    stream,
)
from gateway.web.bodies import BodyLimit
from gateway.web.deps import API, COOKIE, WebDeps
from gateway.web.gate import OPEN_PATHS, Gate
from gateway.web.home import HOME_PARTS, ROOTS
from gateway.web.hosts import KnownHosts
from gateway.web.methods import Methods, Paths, paths_of
from gateway.web.problems import Problem, handle
from gateway.web.shield import Shield
from gateway.web.static import AppFiles, File

HANDLED = (GatewayError, HTTPException, RequestValidationError)

LOGINS: list[dict[str, list[str]]] = [{"session": []}, {"token": []}]  # either of them

PARTS = (auth, probes, meters, commands, calibration, history, alerts, stream, people, devices)
ALL_PARTS = (*PARTS, *HOME_PARTS)


def create_app(deps: WebDeps, files: Mapping[str, File] | None = None) -> FastAPI:
    """Return the API over these ports; it holds no state beside theirs.

    `files` is the app for people (see `static.load_files`); without it only the API is served.
    """
    page = [] if files is None else [Middleware(AppFiles, files=files, also=deps.app_calls)]
    app: FastAPI = FastAPI(
        title="Wattwarden",
        version=gateway.__version__,
        openapi_url=None,  # served below, off the event loop
        docs_url=None,  # would fetch scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=dict.fromkeys(HANDLED, handle),
        middleware=[  # outermost first
            Middleware(Shield, hosts=KnownHosts((deps.bound_host, *deps.allowed_hosts))),
            *page,
            Middleware(Gate, accounts=deps.accounts, tokens=deps.tokens),
            Middleware(BodyLimit),
            Middleware(Methods, paths=_paths()),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5),
        ],
    )
    app.state.deps = deps
    for root in (probes.root, *ROOTS):
        app.include_router(root)
    api = APIRouter(prefix=API)
    for part in ALL_PARTS:
        api.include_router(part.router)
    app.include_router(api)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's way to extend it
    app.add_route("/openapi.json", _describe)
    return app


async def _describe(request: Request) -> Response:
    """Give the description; making it takes a second, in which the intake goes on."""
    return JSONResponse(await asyncio.to_thread(request.app.openapi))


def _paths() -> Paths:
    """Return what each path answers."""
    found = dict(paths_of([*probes.root.routes, *(route for r in ROOTS for route in r.routes)]))
    for part in ALL_PARTS:
        found |= paths_of(part.router.routes, API)
    return found | {"/openapi.json": frozenset({"GET"})}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Describe the API, with the error schema and the session cookie."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        parts = schema.setdefault("components", {})
        template = "#/components/schemas/{model}"
        described = Problem.model_json_schema(ref_template=template)
        parts.setdefault("schemas", {}).update(described.pop("$defs", {}))
        parts["schemas"]["Problem"] = described
        parts["securitySchemes"] = {
            "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            "token": {"type": "http", "scheme": "bearer"},
        }
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in OPEN_PATHS else LOGINS
        app.openapi_schema = schema
    return app.openapi_schema
