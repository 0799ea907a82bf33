"""The app: routes, guards and their order."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

import gateway
from gateway.domain.errors import GatewayError
from gateway.web import alerts, auth, history, meters, people, probes, stream
from gateway.web.bodies import BodyLimit
from gateway.web.deps import API, COOKIE, WebDeps
from gateway.web.gate import OPEN_PATHS, Gate
from gateway.web.hosts import KnownHosts
from gateway.web.methods import Methods, Paths, paths_of
from gateway.web.problems import Problem, handle
from gateway.web.shield import Shield

HANDLED = (GatewayError, HTTPException, RequestValidationError)

LOGINS: list[dict[str, list[str]]] = [{"session": []}, {"token": []}]  # either of them

PARTS = (auth, probes, meters, history, alerts, stream, people)


def create_app(deps: WebDeps) -> FastAPI:
    """Return the API over these ports; it holds no state beside theirs."""
    app: FastAPI = FastAPI(
        title="Wattwarden",
        version=gateway.__version__,
        openapi_url="/openapi.json",
        docs_url=None,  # would fetch scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=dict.fromkeys(HANDLED, handle),
        middleware=[  # outermost first
            Middleware(Shield, hosts=KnownHosts((deps.bound_host, *deps.allowed_hosts))),
            Middleware(Gate, accounts=deps.accounts, tokens=deps.tokens),
            Middleware(BodyLimit),
            Middleware(Methods, paths=_paths()),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5),
        ],
    )
    app.state.deps = deps
    app.include_router(probes.root)
    api = APIRouter(prefix=API)
    for part in PARTS:
        api.include_router(part.router)
    app.include_router(api)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's way to extend it
    return app


def _paths() -> Paths:
    """Return what each path answers."""
    found = dict(paths_of(probes.root.routes))
    for part in PARTS:
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
