"""Rule D of the contract, the part that planning decides: what every message is answered."""

import msgspec

from gateway.adapters.mqtt import ack_payload
from tests.gateway.services.site_rig import Site, window, windows


def test_rule_d_an_ack_is_minus_one_before_seq_0_is_there(site: Site) -> None:
    ack = site.send(window(3))
    assert ack is not None
    assert (ack.boot, ack.upto, ack.more) == (1, -1, ())
    ack = site.send(windows(0, 2))
    assert ack is not None
    assert ack.upto == 3


def test_rule_d_the_newest_boot_stands_outside_and_others_in_more(site: Site) -> None:
    site.send(windows(0, 4, 7))
    site.state(boot=7, bootn=1, up=5000)
    site.send(windows(0, 1, 8))
    site.state(boot=8, bootn=2, up=2000)
    ack = site.send([*windows(5, 6, 7), window(2, 8)])
    assert ack is not None
    assert (ack.boot, ack.upto, ack.more) == (8, 2, ((7, 6),))
    ack = site.send(window(8, 7))  # only the old boot is answered: the newest is told all the same
    assert ack is not None
    assert (ack.boot, ack.upto, ack.more) == (8, 2, ((7, 6),))
    ack = site.send(window(3, 8))
    assert ack is not None
    assert (ack.boot, ack.upto, ack.more) == (8, 3, ())


def test_rule_d_boots_are_ordered_by_bootn_whatever_came_first(site: Site) -> None:
    site.send(window(0, 8))
    site.send(window(0, 7))
    site.state(boot=8, bootn=2, up=2000)
    site.state(retained=True, boot=7, bootn=1, up=1000)
    ack = site.send(window(1, 7))
    assert ack is not None
    assert (ack.boot, ack.upto, ack.more) == (8, 0, ((7, 1),))


def test_rule_d_several_messages_of_a_meter_get_one_ack_a_commit(site: Site) -> None:
    for seq in range(5):
        site.plan(window(seq))
    site.plan(window(0), "other")
    acks = {ack.meter: ack.upto for ack in site.commit()}
    assert acks == {"home": 4, "other": 0}
    assert len(site.last.acks) == 2


def test_rule_d_a_message_with_nothing_good_is_answered_too(site: Site) -> None:
    site.send(window(0))
    for payload in (b"nonsense", b"[]", b'{"boot":1}'):
        ack = site.send(payload)
        assert ack is not None
        assert ack.upto == 0


def test_rule_d_the_wire_form_of_an_ack(site: Site) -> None:
    site.send(windows(0, 4, 7))
    ack = site.send([window(5, 7), window(0, 8)])
    assert ack is not None
    told = msgspec.json.decode(ack_payload(ack, 123))
    registers = window(0)["ch"]["grid"]
    assert told == {
        "boot": 8,
        "upto": 0,
        "more": [{"boot": 7, "upto": 5}],
        "now": 123,
        "regs": {"grid": {"wh_in": registers["wh_in"], "wh_out": 0.0}},
    }
    assert msgspec.json.decode(ack_payload(ack, None))["now"] is None


def test_rule_d_registers_in_an_ack_are_null_where_never_measured(site: Site) -> None:
    ack = site.send(window(0, wh_out=None))
    assert ack is not None
    told = msgspec.json.decode(ack_payload(ack, None))
    assert told["regs"]["grid"]["wh_out"] is None
