"""What the broker retains of a removed meter is taken back, and of no other one."""

from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.services.farewell import Farewell
from gateway.services.ledger import Ledger, Meter

Sent = list[tuple[str, str, bytes, bool]]


def site() -> tuple[Farewell, Sent]:
    """Return a farewell of a site with one meter that stays and one that was removed."""
    ledger, sent = Ledger(), Sent()
    for number, name in enumerate(("kitchen", "leaver")):
        info = MeterInfo(name, channels={"grid": ChannelInfo("grid", Role.GRID)})
        ledger.meters[name] = Meter(number, info)
    ledger.meters["leaver"].removed = True

    def send(meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        sent.append((meter, tail, payload, retain))
        return True

    return Farewell(send, lambda: ledger), sent


def test_all_that_is_retained_is_taken_back() -> None:
    farewell, sent = site()
    farewell.clear("leaver")
    tails = {tail for _, tail, _, _ in sent}
    assert {"state", "ack", "desired", "live/grid/p", "live/grid/wh_in"} <= tails
    assert {(meter, payload, retain) for meter, _, payload, retain in sent} == {
        ("leaver", b"", True)
    }


def test_the_broker_s_last_word_for_it_is_taken_back_too() -> None:
    farewell, sent = site()
    farewell.stated("leaver", b'{"online":false}')
    assert ("leaver", "state", b"", True) in sent
    sent.clear()
    farewell.stated("leaver", b"")  # our own, heard again
    assert sent == []


def test_a_new_connection_looks_after_all_removed_ones() -> None:
    farewell, sent = site()
    farewell.linked()
    assert {meter for meter, *_ in sent} == {"leaver"}


def test_meters_that_are_here_or_unknown_are_left_alone() -> None:
    farewell, sent = site()
    for name in ("kitchen", "stranger"):
        farewell.clear(name)
        farewell.stated(name, b'{"online":true}')
    assert sent == []
