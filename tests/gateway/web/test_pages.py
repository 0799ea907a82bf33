"""Every answer that a browser shows as a page: its policy allows its own styles, nothing inline."""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from calibration.certificate import certificate
from gateway.web.app import create_app
from gateway.web.static import load_files
from tests.gateway.web.rig import Rig

CERTIFICATE = "/api/v1/meters/kitchen/calibration/certificate"
SOURCE = Path(__file__).parents[3] / "dashboard" / "index.html"
SHOWN: dict[str, Any] = {
    "meter": "kitchen", "version": 3, "made": 1_763_760_000_000, "by": "ada", "note": "",
    "reference": {"name": "<style>", "class_pct": 1.0}, "voltage_uncertainty_pct": 0.2,
    "points": [], "loads": [], "checks": [],
}  # fmt: skip


async def _certificate(args: Mapping[str, object], who: str) -> dict[str, object]:
    del args, who
    return {"html": certificate(SHOWN, site="home")}


@pytest.mark.parametrize("path", ["/", "/alerts/a1", CERTIFICATE])
@pytest.mark.parametrize("built", ["", "built"])
async def test_a_page_s_policy_allows_its_own_styles_and_nothing_inline(
    rig: Rig, path: str, built: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(SOURCE.read_text())
    rig.app = create_app(rig.deps(), load_files(tmp_path if built else None))
    rig.operations.others["calibration.certificate"] = _certificate
    async with rig.login("vera") as client:
        answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    (policy,) = answer.headers.get_list("content-security-policy")
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert "unsafe" not in policy
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    sheets = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    hashes = [b64encode(sha256(sheet.encode()).digest()).decode() for sheet in sheets]
    assert rules["style-src"] == " ".join(f"'sha256-{found}'" for found in hashes) or not sheets
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son[a-z]+=", answer.text)


def test_every_page_is_looked_at(rig: Rig) -> None:
    """A new operation that answers with a page must come into the list above."""
    paths = rig.app.openapi()["paths"]
    pages = [
        path
        for path, operations in paths.items()
        for operation in operations.values()
        if "text/html" in str(operation["responses"])
    ]
    assert pages == [CERTIFICATE.replace("kitchen", "{id}")]
