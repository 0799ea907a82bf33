"""Liveness, readiness, metrics and the gateway's own state."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.web.deps import Deps
from gateway.web.models import Alive, StatusOut
from gateway.web.problems import BEHIND_LOGIN, documented, problem

root = APIRouter(tags=["probes"])
router = APIRouter(tags=["status"])


@root.get("/healthz", responses=documented())
async def healthz() -> Alive:
    """Tell that the process answers."""
    return Alive()


@root.get("/readyz", response_model=Alive, responses=documented())
async def readyz(deps: Deps) -> Alive | Response:
    """Tell whether the gateway does its work, or which service keeps it from it (503)."""
    unready = deps.unready()
    if not unready:
        return Alive()
    why = "; ".join(f"{name}: {reason}" for name, reason in sorted(unready.items()))
    return problem(503, f"not ready: {why}")


@root.get("/metrics", response_class=PlainTextResponse, responses=documented(401))
async def metrics(deps: Deps) -> Response:
    """Give Prometheus text; from this machine without a login."""
    return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/status", responses=documented(*BEHIND_LOGIN))
async def status(deps: Deps) -> StatusOut:
    """Show how the gateway is."""
    return StatusOut.of(await deps.views.status(), deps.runtime())
