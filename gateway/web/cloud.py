"""The cloud, as far as the app in a browser talks to it itself."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from gateway.web.deps import Deps, LoggedIn
from gateway.web.problems import BEHIND_LOGIN, documented

router = APIRouter(prefix="/cloud", tags=["cloud"])


class WebConfig(BaseModel):
    """Firebase's configuration of the project's web app, by its own names; none is a secret."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    api_key: str
    project_id: str
    messaging_sender_id: str
    app_id: str
    vapid_key: str


@router.get("/web-config", responses=documented(*BEHIND_LOGIN, 404))
async def get_web_config(deps: Deps, who: LoggedIn) -> WebConfig:
    """Tell a browser how to register for pushes; 404 where that is not set up."""
    return WebConfig.model_validate(await deps.operations.call("cloud.web_config", {}, who.name))
