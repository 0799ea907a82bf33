"""Rules M and P of the contract: unknown meters, and messages that cannot be stored."""

import json
from pathlib import Path

import pytest

from gateway.adapters.store import intake as intake_store
from gateway.domain.meters import MeterInfo
from gateway.services import planner as planner_module
from gateway.services.messages import take_event
from tests.gateway.services.site_rig import Site, window, windows


def test_rule_m_a_valid_new_meter_is_registered_with_its_first_reading(site: Site) -> None:
    site.send(b"nonsense", "kitchen")
    assert site.query("SELECT count(*) FROM meters") == [(0,)]
    ack = site.send([window(0, i=-1.0), window(1)], "kitchen")
    assert site.query("SELECT id, recorded FROM meters") == [("kitchen", 0)]
    assert ack is not None
    assert site.seqs("kitchen") == [1]
    assert site.query("SELECT name, role FROM channels") == [("grid", "grid")]


def test_rule_m_a_state_that_came_first_waits_for_the_first_reading(site: Site) -> None:
    assert site.state("kitchen", boot=1, bootn=17, up=1000) is None
    assert site.query("SELECT count(*) FROM meters") == [(0,)]
    site.send(window(0), "kitchen")
    assert site.boot(1, "kitchen").bootn == 17
    assert site.query("SELECT online FROM meters") == [(1,)]


def test_rule_m_without_auto_register_there_is_no_ack_and_nothing_stored(tmp_path: Path) -> None:
    with Site(tmp_path / "s.db", auto_register=False) as site:
        assert site.send(windows(0, 3), "kitchen") is None
        assert site.planner.refused == {"kitchen"}
        assert site.query("SELECT count(*) FROM meters") == [(0,)]
        assert site.dead() == []
        site.add_meter("kitchen")
        ack = site.send(windows(0, 3), "kitchen")
        assert ack is not None
        assert ack.upto == 3


def test_rule_m_a_removed_meter_is_a_stranger(site: Site) -> None:
    site.send(window(0))
    site.ledger.meters["home"].removed = True
    assert site.send(window(1)) is None
    assert site.planner.refused == {"home"}
    assert site.seqs() == [0]


def test_rule_m_strangers_cannot_fill_the_memory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner_module, "MAX_METERS", 3)
    for number in range(5):
        site.plan(window(0), f"m{number:02}")
    site.commit()
    assert len(site.ledger.meters) == 3
    assert site.dead() == ["too_many_meters"] * 2
    for number in range(1000):
        site.states.take(
            f"ww/v1/x{number}/state", f"x{number}", b'{"online":true}', 0, retained=False
        )
    assert len(site.states._waiting) <= 256  # noqa: SLF001 - the bound is the point


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"nonsense", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"{}", "missing_field"),
        (b"[]", "wrong_count"),
        (json.dumps([window(0)] * 121).encode(), "wrong_count"),
        (b"[" * 100_000, "not_json"),
        (b" " * (256 * 1024 + 1), "too_large"),
        (json.dumps(window(5, v=501.0)).encode(), "out_of_range"),
        (json.dumps(window(5, f=39.9)).encode(), "out_of_range"),
        (json.dumps(window(5, dt=99)).encode(), "out_of_range"),
        (json.dumps(window(5, n=7)).encode(), "out_of_range"),
        (json.dumps(window(5, p=float("nan"))).encode(), "not_finite"),
        (json.dumps(window(5, v="230")).encode(), "wrong_type"),
        (json.dumps(window(5, ch={})).encode(), "out_of_range"),
        (json.dumps(window(5, flags=["x"] * 9)).encode(), "out_of_range"),
        (json.dumps(window(-1, up=5)).encode(), "out_of_range"),
    ],
)
def test_rule_p_poison_is_kept_counted_and_blocks_nothing(
    site: Site, payload: bytes, reason: str
) -> None:
    site.send(window(0))
    ack = site.send(payload)
    assert ack is not None
    assert site.dead() == [reason]
    assert site.query("SELECT reason, count FROM dead_letter_counts") == [(reason, 1)]
    ack = site.send(windows(1, 4))
    assert ack is not None
    assert ack.upto >= 4


def test_rule_p_one_bad_reading_does_not_lose_the_others(site: Site) -> None:
    batch = windows(0, 9)
    batch[3] = window(3, i=-1.0)
    batch[4] = {"boot": 1, "seq": 4}
    batch[5] = "no reading at all"  # type: ignore[call-overload]
    ack = site.send(batch)
    assert site.seqs() == [0, 1, 2, 6, 7, 8, 9]
    assert sorted(site.dead()) == ["missing_field", "out_of_range", "wrong_type"]
    assert site.gaps() == [(3, 3, "final"), (4, 4, "final")]
    assert ack is not None
    assert ack.upto == 4  # the nameless one may still come


def test_rule_p_a_bad_spool_record_makes_its_whole_span_final(site: Site) -> None:
    site.send(window(0))
    ack = site.send([window(10, n=10, dt=10_000, v=900.0), window(11)])
    assert site.gaps() == [(1, 10, "final")]
    assert ack is not None
    assert ack.upto == 11


def test_rule_p_a_bad_first_reading_of_a_boot_blocks_nothing_once_it_repeats(site: Site) -> None:
    bad = window(0, v=900.0)
    site.send(bad)
    site.send(window(1))
    ack = site.send(bad)
    assert ack is not None
    assert ack.upto == 1


def test_rule_p_an_implausible_identity_makes_nothing_final(site: Site) -> None:
    site.send(windows(0, 2))
    for bad in (window(3, v=900.0) | {"seq": -3}, window(3, v=900.0) | {"boot": 2**32}):
        site.send(bad)
    site.send(window(4_000_000, v=900.0))
    assert site.gaps() == []
    assert len(site.dead()) == 3


def test_rule_p_a_mended_resend_of_a_bad_reading_is_stored(site: Site) -> None:
    site.send([window(0), window(1, v=900.0), window(2)])
    site.send(window(1))
    assert site.seqs() == [0, 1, 2]
    assert site.gaps() == []


def test_rule_p_dead_letters_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_store, "MAX_DEAD_LETTERS", 10)
    for _ in range(35):
        site.plan(b"x" * 100_000)
    site.commit()
    assert len(site.dead()) == 10
    assert site.query("SELECT count FROM dead_letter_counts") == [(35,)]
    assert site.query("SELECT max(length(payload)), max(size) FROM dead_letters")[0][0] <= 4096


def test_rule_p_channels_of_a_meter_are_bounded(site: Site) -> None:
    channel = window(0)["ch"]["grid"]
    for number in range(40):
        site.plan(window(number, ch={f"load{number}": channel}))
    site.commit()
    assert len(site.ledger.meters["home"].info.channels) == 32
    assert site.dead() == ["too_many_channels"] * 8


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("state", b"{", "bad_state"),
        ("state", b'{"online":"yes"}', "bad_state"),
        ("state", b"[" * 5000, "bad_state"),
        ("state", b"x" * 20_000, "too_large"),
        ("state", b'{"online":true,"fw":"\xff"}', "bad_state"),
        ("events", b"{", "bad_event"),
        ("events", b'{"boot":1,"kind":"dropped"}', "bad_event"),
        ("events", b'{"boot":-1,"kind":"anomaly"}', "bad_event"),
        ("events", b'{"boot":1,"kind":"anomaly","x":"\xff"}', "bad_event"),
        ("events", b"x" * 20_000, "too_large"),
    ],
)
def test_rule_p_bad_state_and_events_are_dead_letters(
    site: Site, kind: str, payload: bytes, reason: str
) -> None:
    site.send(window(0))
    topic = f"ww/v1/home/{kind}"
    if kind == "state":
        site.states.take(topic, "home", payload, site.now.wall, retained=False)
    else:
        assert take_event(site.planner, topic, "home", payload, site.now.wall) is None
    site.commit()
    assert site.dead() == [reason]
    assert site.send(window(1)) is not None


def test_rule_p_unknown_fields_never_fail_a_reading(site: Site) -> None:
    site.send(window(0, new_field={"deep": [1, 2]}, aux={"oil_temp": 61.2}, flags=["brand_new"]))
    (row,) = site.rows()
    assert (row.aux, row.flags) == ({"oil_temp": 61.2}, ("brand_new",))


def test_registering_again_is_refused_by_nobody_but_keeps_the_number(site: Site) -> None:
    meter = site.planner.register(MeterInfo("tape", recorded=True, registered_ms=5))
    site.commit()
    site.reload()
    assert site.ledger.meters["tape"].no == meter.no
    assert site.ledger.meters["tape"].info.recorded
