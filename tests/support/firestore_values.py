"""Firestore's values: their order, their fields by path, and what transforms make of them.

https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
"""

import math
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from google.cloud.firestore_v1 import types
from google.protobuf.timestamp_pb2 import Timestamp

Document = types.Document.pb()
Value = types.Value.pb()
Message = Any  # a protobuf message, whose class is made at run time
Key = tuple[Any, ...]
NAME = "__name__"
SEGMENT = re.compile(r"`(?:[^`\\]|\\.)+`|[^.]+")
NUMERIC_ID = re.compile(r"__id(-?\d+)__")
INT64 = 2**63
# Integers and doubles are one kind: they are compared by value.
RANKS = {
    "null_value": 0, "boolean_value": 1, "integer_value": 2, "double_value": 2,
    "timestamp_value": 3, "string_value": 4, "bytes_value": 5, "reference_value": 6,
    "geo_point_value": 7, "array_value": 8, "map_value": 10,
}  # fmt: skip
NUMBERS = ("integer_value", "double_value")
NUMBER_RANK, ARRAY_RANK, NULL_RANK = 2, 8, 0


def nanos(stamp: Timestamp) -> int:
    """Return a timestamp as nanoseconds since 1970."""
    return int(stamp.seconds) * 10**9 + int(stamp.nanos)


def kind_of(value: Message) -> str:
    """Return which kind of value it is, such as integer_value."""
    return str(value.WhichOneof("value_type"))


def rank_of(value: Message) -> int:
    """Return where its kind stands among the kinds."""
    return RANKS[kind_of(value)]


def sort_key(value: Message) -> Key:
    """Return what orders values as Firestore does."""
    kind, rank = kind_of(value), rank_of(value)
    return (rank, *KEYS.get(kind, _plain_key)(getattr(value, kind)))


def _plain_key(content: Message) -> Key:
    return (content,)


def _double_key(number: float) -> Key:
    """NaN comes before every number."""
    return (0, 0) if math.isnan(number) else (1, number)


def _map_key(content: Message) -> Key:
    fields = content.fields
    return ([(name.encode(), sort_key(fields[name])) for name in sorted(fields)],)


def _segment_key(segment: str) -> Key:
    """Numeric ids come first, in the order of their numbers."""
    found = NUMERIC_ID.fullmatch(segment)
    return (0, int(found[1]), b"") if found else (1, 0, segment.encode())


KEYS: dict[str, Callable[[Message], Key]] = {
    "null_value": lambda _: (),
    "integer_value": lambda number: (1, number),
    "double_value": _double_key,
    "timestamp_value": lambda stamp: (nanos(stamp),),
    "string_value": lambda text: (text.encode(),),
    "reference_value": lambda name: ([_segment_key(part) for part in name.split("/")],),
    "geo_point_value": lambda point: (point.latitude, point.longitude),
    "array_value": lambda array: ([sort_key(item) for item in array.values],),
    "map_value": _map_key,
}


def split_path(path: str) -> list[str]:
    """Return the segments of a field path; odd names stand in backticks."""
    return [
        part[1:-1].replace("\\`", "`").replace("\\\\", "\\") if part[0] == "`" else part
        for part in SEGMENT.findall(path)
    ]


def get_field(fields: Mapping[str, Message], path: Sequence[str]) -> Message | None:
    """Return the value at a path, None where there is none."""
    value = None
    for depth, name in enumerate(path):
        if name not in fields:
            return None
        value = fields[name]
        if depth < len(path) - 1:
            if kind_of(value) != "map_value":
                return None
            fields = value.map_value.fields
    return value


def set_field(fields: MutableMapping[str, Message], path: Sequence[str], value: Message) -> None:
    """Put a value at a path; maps on the way are made."""
    for name in path[:-1]:
        if name not in fields or kind_of(fields[name]) != "map_value":
            fields[name].map_value.SetInParent()
        fields = fields[name].map_value.fields
    fields[path[-1]].CopyFrom(value)


def remove_field(fields: MutableMapping[str, Message], path: Sequence[str]) -> None:
    """Remove what stands at a path, if anything does."""
    for name in path[:-1]:
        if name not in fields or kind_of(fields[name]) != "map_value":
            return
        fields = fields[name].map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def document_field(document: Message, path: str) -> Message | None:
    """Return a field of a document, `__name__` included."""
    if path == NAME:
        return Value(reference_value=document.name)
    return get_field(document.fields, split_path(path))


def transform(old: Message | None, order: Message, now: Timestamp) -> tuple[Message, Message]:
    """Return a field after a transform, and what the write's result tells of it."""
    kind = order.WhichOneof("transform_type")
    if kind == "set_to_server_value":
        whole_ms = Timestamp(seconds=now.seconds, nanos=now.nanos // 10**6 * 10**6)
        value = Value(timestamp_value=whole_ms)
        return value, value
    if kind in ("increment", "maximum", "minimum"):
        value = _calculated(kind, old, getattr(order, kind))
        return value, value
    return _changed_array(kind, old, getattr(order, kind).values), Value(null_value=0)


def _calculated(kind: str, old: Message | None, by: Message) -> Message:
    operand = getattr(by, kind_of(by))
    known = None if old is None or kind_of(old) not in NUMBERS else getattr(old, kind_of(old))
    if known is None:
        number = operand
    elif kind == "increment":
        number = known + operand
    else:
        number = max(known, operand) if kind == "maximum" else min(known, operand)
    if isinstance(number, int):
        return Value(integer_value=max(-INT64, min(INT64 - 1, number)))
    return Value(double_value=number)


def _changed_array(kind: str, old: Message | None, items: Sequence[Message]) -> Message:
    is_array = old is not None and kind_of(old) == "array_value"
    have = list(old.array_value.values) if is_array and old is not None else []
    keys = [sort_key(item) for item in have]
    if kind == "append_missing_elements":
        for item in items:
            if sort_key(item) not in keys:
                have.append(item)
                keys.append(sort_key(item))
    else:
        gone = [sort_key(item) for item in items]
        have = [item for item in have if sort_key(item) not in gone]
    value = Value()
    value.array_value.SetInParent()
    value.array_value.values.extend(have)
    return value
