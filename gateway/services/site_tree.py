"""The site as a tree that an operator draws: transformer, feeders, groups and meters."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.errors import BadInputError

MOST_NODES = 500
LONGEST_NAME = 80
DEEPEST = 20
NODE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
METER_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}\Z")
CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,15}\Z")
KEYS = {"id", "name", "kind", "parent", "meter", "channel"}


class NodeKind(StrEnum):
    """What a node stands for."""

    TRANSFORMER = "transformer"
    FEEDER = "feeder"
    GROUP = "group"
    METER = "meter"


class Node(NamedTuple):
    """One place; `parent` None = a root, `meter` None = not measured itself.

    `channel` None = all channels of role grid, else the only one.
    """

    id: str
    name: str
    kind: NodeKind
    parent: str | None = None
    meter: str | None = None
    channel: str | None = None


def read_nodes(value: object) -> list[Node]:
    """Return a tree's nodes in their order; BadInputError names the node that is wrong."""
    if not isinstance(value, list) or len(value) > MOST_NODES:
        msg = f"nodes: must be a list of at most {MOST_NODES}"
        raise BadInputError(msg)
    nodes = [_node(f"nodes.{index}", item) for index, item in enumerate(value)]
    by_id = {node.id: node for node in nodes}
    if len(by_id) < len(nodes):
        seen: set[str] = set()
        twice = next(node.id for node in nodes if node.id in seen or seen.add(node.id))  # type: ignore[func-returns-value]
        msg = f"nodes: {twice} is there twice"
        raise BadInputError(msg)
    for node in nodes:
        _check_way_up(node, by_id)
    return nodes


def _node(key: str, item: object) -> Node:
    if not isinstance(item, Mapping) or not {"id", "name", "kind"} <= item.keys() <= KEYS:
        msg = f"{key}: must have id, name, kind, and may have parent, meter, channel"
        raise BadInputError(msg)
    name, kind = item["name"], item["kind"]
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
        msg = f"{key}.name: must have 1 to {LONGEST_NAME} characters"
        raise BadInputError(msg)
    if kind not in set(NodeKind):
        msg = f"{key}.kind: must be one of {', '.join(NodeKind)}"
        raise BadInputError(msg)
    found = Node(
        _text(key, item, "id", NODE_ID) or "", name.strip(), NodeKind(str(kind)),
        _text(key, item, "parent", NODE_ID), _text(key, item, "meter", METER_ID),
        _text(key, item, "channel", CHANNEL),
    )  # fmt: skip
    if not found.id or (found.channel is not None and found.meter is None):
        msg = f"{key}: needs an id, and a meter where it has a channel"
        raise BadInputError(msg)
    return found


def _text(key: str, item: Mapping[str, object], name: str, form: re.Pattern[str]) -> str | None:
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or form.match(value) is None:
        msg = f"{key}.{name}: {str(value)[:40]!r} is not of the form {form.pattern[:-2]}"
        raise BadInputError(msg)
    return value


def _check_way_up(node: Node, by_id: Mapping[str, Node]) -> None:
    seen = {node.id}
    parent = node.parent
    while parent is not None:
        if parent not in by_id:
            msg = f"nodes: the parent of {node.id}, {parent}, does not exist"
            raise BadInputError(msg)
        if parent in seen:
            msg = f"nodes: {node.id} is its own ancestor"
            raise BadInputError(msg)
        seen.add(parent)
        if len(seen) > DEEPEST:
            msg = f"nodes: {node.id} lies more than {DEEPEST} deep"
            raise BadInputError(msg)
        parent = by_id[parent].parent


def node_json(node: Node) -> dict[str, object]:
    """Return a node as people get it."""
    return dict(node._asdict())
