"""What a browser is told to register for pushes."""

import pytest

from gateway.services.notify.web_push import web_push_operations
from gateway.settings import CloudSettings
from tests.gateway.web.rig import Rig, assert_problem

PUSH_KEY = "B" + "x" * 86
SETTINGS = {
    "enabled": True, "project": "my-home", "api_key": "AIza-1",
    "web_app_id": "1:123456789012:web:0123456789abcdef", "web_push_key": PUSH_KEY,
}  # fmt: skip
PATH = "/api/v1/cloud/web-config"


async def test_everybody_who_is_logged_in_is_told(rig: Rig) -> None:
    rig.operations.others |= web_push_operations(CloudSettings.model_validate(SETTINGS))
    async with rig.login("vera") as client:
        answer = await client.get(PATH)
    assert answer.json() == {
        "apiKey": "AIza-1", "projectId": "my-home", "messagingSenderId": "123456789012",
        "appId": "1:123456789012:web:0123456789abcdef", "vapidKey": PUSH_KEY,
    }  # fmt: skip
    async with rig.client() as stranger:
        assert_problem(await stranger.get(PATH), 401)


@pytest.mark.parametrize("lacking", ["enabled", "project", "api_key", "web_app_id", "web_push_key"])
async def test_what_is_not_set_up_is_named(rig: Rig, lacking: str) -> None:
    given = {name: value for name, value in SETTINGS.items() if name != lacking}
    rig.operations.others |= web_push_operations(CloudSettings.model_validate(given))
    async with rig.login("vera") as client:
        answer = await client.get(PATH)
    assert_problem(answer, 404)
    assert f"cloud.{lacking}" in answer.json()["detail"]
