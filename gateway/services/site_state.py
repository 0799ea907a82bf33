"""How each place of the site is: its power, its alerts, and what its children add up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.alerts import Alert, Severity
from gateway.domain.meters import MeterInfo, Role
from gateway.domain.readings import Stored
from gateway.services.site_tree import Node


class NodeState(StrEnum):
    """From best to worst."""

    NORMAL = "normal"
    SILENT = "silent"
    WARNING = "warning"
    CRITICAL = "critical"


WORST = tuple(NodeState)


@dataclass(frozen=True, slots=True)
class Seen:
    """One meter as it is now; `online` is true for recorded ones."""

    info: MeterInfo
    online: bool
    last: Stored | None


@dataclass(slots=True)
class Place:
    """What is known of one node: W, and the oldest reading that went in, Unix ms."""

    state: NodeState = NodeState.NORMAL
    power_w: float | None = None
    children_w: float | None = None
    at_ms: int | None = None

    @property
    def difference_w(self) -> float | None:
        """Return what the node measures beyond its children: losses, and what nobody meters."""
        if self.power_w is None or self.children_w is None:
            return None
        return round(self.power_w - self.children_w, 3)


@dataclass(slots=True)
class _Site:
    children: dict[str, list[Node]]
    seen: Mapping[str, Seen]
    alerts: Mapping[str, list[Alert]]
    places: dict[str, Place] = field(default_factory=dict)

    def visit(self, node: Node) -> Place:
        """Return a node's place, its children's before it."""
        below = [self.visit(child) for child in self.children.get(node.id, [])]
        place = Place()
        known = [child.power_w for child in below if child.power_w is not None]
        if below and len(known) == len(below):
            place.children_w = round(sum(known), 3)
        times = [child.at_ms for child in below if child.at_ms is not None]
        if node.meter is None:
            place.state = max(
                (child.state for child in below), key=WORST.index, default=place.state
            )
            place.power_w, place.at_ms = place.children_w, min(times, default=None)
        else:
            self._measure(node, place)
        self.places[node.id] = place
        return place

    def _measure(self, node: Node, place: Place) -> None:
        meter = self.seen.get(node.meter or "")
        if meter is None:
            place.state = NodeState.SILENT
            return
        if meter.last is not None:
            place.power_w, place.at_ms = _power(node, meter.info, meter.last), meter.last.at_ms
        place.state = NodeState.NORMAL if meter.online else NodeState.SILENT
        for alert in self.alerts.get(meter.info.id, []):
            if node.channel is None or alert.key[1] in ("", node.channel):
                critical = alert.severity is Severity.CRITICAL
                state = NodeState.CRITICAL if critical else NodeState.WARNING
                place.state = max(place.state, state, key=WORST.index)


def places_of(
    nodes: Iterable[Node], seen: Mapping[str, Seen], alerts: Iterable[Alert]
) -> dict[str, Place]:
    """Return the place of every node; alerts that are muted do not count."""
    ordered = list(nodes)
    children: dict[str, list[Node]] = {}
    for node in ordered:
        if node.parent is not None:
            children.setdefault(node.parent, []).append(node)
    by_meter: dict[str, list[Alert]] = {}
    for alert in alerts:
        if not alert.muted:
            by_meter.setdefault(alert.meter, []).append(alert)
    site = _Site(children, seen, by_meter)
    for node in ordered:
        if node.parent is None:
            site.visit(node)
    return site.places


def _power(node: Node, info: MeterInfo, last: Stored) -> float | None:
    if node.channel is not None:
        channel = last.ch.get(node.channel)
        return None if channel is None else channel.p
    names = [name for name, channel in info.channels.items() if channel.role is Role.GRID]
    if not names and len(last.ch) == 1:
        names = list(last.ch)
    powers = [last.ch[name].p for name in names if name in last.ch]
    known = [power for power in powers if power is not None]
    return round(sum(known), 3) if names and len(known) == len(names) else None
