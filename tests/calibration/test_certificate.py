"""The report: complete, harmless whatever names are in it, and clear on what it is not."""

from html.parser import HTMLParser
from typing import Any

import pytest

from calibration.certificate import certificate

POINT = {
    "channel": "grid", "i": 1.0, "p": 230.0, "residual_pct": 0.01, "uncertainty_pct": 0.3,
    "budget_pct": {"reference": 0.1, "noise": 0.05, "fit": 0.05, "temperature": 0.03},
}  # fmt: skip
CHECK = {
    "channel": "grid", "reference": {"p": 690.0}, "shown": {"p": 691.0}, "error_pct": 0.14,
    "allowed_pct": 0.4, "passed": True,
}  # fmt: skip
LOAD = {"channel": "grid", "p": 500.0, "factor": 0.5, "p_pct": 0.4, "i_pct": 0.3, "v_pct": 0.1}


def page(**more: Any) -> str:  # noqa: ANN401 - parts of the page
    shown = {
        "meter": "kitchen", "version": 3, "made": 1_763_760_000_000, "by": "ada", "note": "",
        "reference": {"name": "PM-231", "class_pct": 1.0}, "voltage_uncertainty_pct": 0.2,
        "points": [POINT], "loads": [LOAD], "checks": [CHECK],
    }  # fmt: skip
    return certificate({**shown, **more}, site="home")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - as it is called
        self.seen.add(tag)


def test_it_says_what_was_done_and_what_it_is_not() -> None:
    text = page()
    for words in ("kitchen", "version 3", "PM-231, accuracy 1 %", "± 0.30 %", "500 W, PF 0.5",
                  "agrees", "no verification under legal metrology", "must not be used for billing",
                  "2025-11-21"):  # fmt: skip
        assert words in text
    assert "nothing has confirmed this calibration yet" in page(checks=[])
    assert "does not agree" in page(checks=[{**CHECK, "passed": False}])
    assert "not named" in page(reference={"name": "", "class_pct": 1.0})


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "<img src=x onerror=y>", "a&b"])
def test_names_are_text(name: str) -> None:
    text = page(reference={"name": name, "class_pct": 1.0}, by=name, note=name)
    tags = Tags()
    tags.feed(text)
    assert not tags.seen & {"script", "img"}
    assert "&amp;" in text or "&lt;" in text


def test_many_points_are_set_small() -> None:
    assert "<body class=dense>" in page(points=[POINT] * 30)
    assert "<body>" in page()
