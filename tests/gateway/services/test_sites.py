"""The site's tree: what may be drawn, and how each place of it is."""

import pytest

from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.domain.errors import BadInputError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Stored
from gateway.services.site_state import NodeState, Seen, places_of
from gateway.services.site_tree import DEEPEST, Node, NodeKind, read_nodes

NOW_MS = 1_763_760_000_000


def seen(meter: str, power_w: float | None, *, online: bool = True, at_ms: int = NOW_MS) -> Seen:
    channels = {"grid": ChannelInfo("grid", Role.GRID), "pump": ChannelInfo("pump", Role.LOAD)}
    ch = {
        "grid": Channel(i=None, p=power_w, wh_in=None, wh_out=None),
        "pump": Channel(i=None, p=40.0, wh_in=None, wh_out=None),
    }
    last = Stored(
        row=1, meter=meter, boot=1, seq=1, n=1, up_ms=1, t_ms=at_ms, at_ms=at_ms,
        received_ms=at_ms, dt_ms=1000, marks=0, v=230.0, f=None, ch=ch, flags=(),
    )  # fmt: skip
    return Seen(MeterInfo(meter, channels=channels), online, last)


def alert(meter: str, severity: Severity, channel: str = "", *, muted: bool = False) -> Alert:
    key = (meter, channel, AlertKind.ANOMALY)
    return Alert(
        f"{meter}{channel}", key, severity, AlertState.OPEN, 1, 1, None, 1, "", "", {}, None,
        muted=muted,
    )  # fmt: skip


TREE = [
    Node("t", "Transformer", NodeKind.TRANSFORMER, None, "main", "grid"),
    Node("f", "Feeder", NodeKind.FEEDER, "t"),
    Node("a", "House A", NodeKind.METER, "f", "house-a"),
    Node("b", "House B", NodeKind.METER, "f", "house-b"),
    Node("p", "Pump", NodeKind.METER, None, "house-a", "pump"),
]


def test_powers_add_up_and_the_difference_is_what_nobody_meters() -> None:
    meters = {"main": seen("main", 1000), "house-a": seen("house-a", 600, at_ms=NOW_MS - 5),
              "house-b": seen("house-b", 350)}  # fmt: skip
    places = places_of(TREE, meters, [])
    assert (places["t"].power_w, places["t"].children_w) == (1000, 950)
    assert places["t"].difference_w == 50
    assert (places["f"].power_w, places["f"].at_ms) == (950, NOW_MS - 5)
    assert places["f"].difference_w == 0
    assert places["p"].power_w == 40
    assert {place.state for place in places.values()} == {NodeState.NORMAL}


def test_one_that_is_not_known_leaves_no_sum() -> None:
    places = places_of(TREE, {"main": seen("main", 9), "house-a": seen("house-a", None)}, [])
    assert places["f"].power_w is None
    assert places["t"].difference_w is None
    assert (places["b"].state, places["f"].state) == (NodeState.SILENT, NodeState.SILENT)
    assert places["t"].state is NodeState.NORMAL


@pytest.mark.parametrize(
    ("alerts", "house", "feeder", "pump"),
    [
        ([alert("house-a", Severity.WARNING)], "warning", "warning", "warning"),
        ([alert("house-a", Severity.CRITICAL, "grid")], "critical", "critical", "normal"),
        ([alert("house-a", Severity.CRITICAL, muted=True)], "normal", "silent", "normal"),
        ([alert("house-a", Severity.WARNING), alert("house-a", Severity.CRITICAL, "grid")],
         "critical", "critical", "warning"),
    ],
)  # fmt: skip
def test_the_worst_colours_a_place(alerts: list[Alert], house: str, feeder: str, pump: str) -> None:
    meters = {"main": seen("main", 1), "house-a": seen("house-a", 1),
              "house-b": seen("house-b", 1, online=False)}  # fmt: skip
    places = places_of(TREE, meters, alerts)
    found = [places[key].state.value for key in ("a", "f", "p")]
    assert found == [house, feeder, pump]


def node(**changes: object) -> dict[str, object]:
    return {"id": "a", "name": "A", "kind": "group", **changes}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("x", "list"), ([5], "nodes.0"), ([node(kind="house")], "kind"), ([node(name="")], "name"),
        ([node(), node()], "twice"), ([node(parent="b")], "does not exist"),
        ([node(parent="a")], "ancestor"),
        ([node(parent="b"), node(id="b", parent="a")], "ancestor"),
        ([node(channel="grid")], "needs"), ([node(meter="Kitchen!")], "meter"),
        ([node(id=f"n{n}", parent=f"n{n - 1}" if n else None) for n in range(DEEPEST + 2)], "deep"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(nodes: object, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        read_nodes(nodes)


def test_a_tree_of_trees_may_be_drawn() -> None:
    drawn = [node(id="x"), node(id="y", parent="x", kind="meter", meter="kitchen", channel="grid")]
    assert [(n.id, n.parent, n.meter) for n in read_nodes(drawn)] == [
        ("x", None, None), ("y", "x", "kitchen"),
    ]  # fmt: skip
