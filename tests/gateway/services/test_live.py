"""Live topics: new values only, once a second, never from a backlog."""

from gateway.domain.readings import Channel, Stored
from gateway.services.live import QUIET_LOOKS, Live

AT_MS = 1_795_305_600_000


def reading(row: int, *, at_ms: int = AT_MS, power_w: float = 230.0) -> Stored:
    channel = Channel(i=1.0, p=power_w, wh_in=5.0, wh_out=None)
    return Stored(
        row, "home", 1, row, 1, 1000, at_ms, at_ms, AT_MS, 1000, 0, 230.0, 50.0, {"grid": channel}
    )  # fmt: skip


def never(_: str) -> bool:
    """Say that no meter is removed."""
    return False


def test_every_measured_field_has_a_topic() -> None:
    sent: dict[str, str] = {}
    Live({"home": reading(1)}, never, sent.__setitem__).look()
    base = "ww/v1/home/live/grid/"
    assert sent == {
        base + "v": "230.0", base + "f": "50.0", base + "i": "1.0", base + "p": "230.0",
        base + "pf": "1.0", base + "wh_in": "5.0",
    }  # fmt: skip


def test_only_what_changed_is_sent_again() -> None:
    sent: list[str] = []
    latest = {"home": reading(1)}
    live = Live(latest, never, lambda topic, _: sent.append(topic))
    live.look()
    sent.clear()
    live.look()
    assert not sent
    latest["home"] = reading(2, power_w=115.0)
    live.look()
    assert sent == ["ww/v1/home/live/grid/p", "ww/v1/home/live/grid/pf"]


def test_a_backlog_is_not_live() -> None:
    sent: list[str] = []
    old = {"home": reading(1, at_ms=AT_MS - 60_000)}
    Live(old, never, lambda topic, _: sent.append(topic)).look()
    assert not sent


def test_after_a_long_silence_all_is_sent_again() -> None:
    sent: list[str] = []
    latest = {"home": reading(1)}
    live = Live(latest, never, lambda topic, _: sent.append(topic))
    live.look()
    first = set(sent)
    for _ in range(QUIET_LOOKS + 1):
        live.look()
    sent.clear()
    latest["home"] = reading(2)
    live.look()
    assert set(sent) == first


def test_nothing_more_of_a_removed_meter() -> None:
    sent: list[str] = []
    latest, removed = {"home": reading(1)}, {"home"}
    live = Live(latest, removed.__contains__, lambda topic, _: sent.append(topic))
    live.look()
    assert not sent
    removed.clear()
    live.look()
    assert sent
