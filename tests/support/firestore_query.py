"""Structured queries over the documents of the rig's Firestore."""

import functools
import math
from collections.abc import Callable, Sequence

import grpc
from google.cloud.firestore_v1 import types

from tests.support.firestore_store import Refusal, Store
from tests.support.firestore_values import (
    ARRAY_RANK,
    NAME,
    NULL_RANK,
    NUMBER_RANK,
    Document,
    Key,
    Message,
    document_field,
    get_field,
    kind_of,
    rank_of,
    set_field,
    sort_key,
    split_path,
)

Query = types.StructuredQuery
Operator = Query.FieldFilter.Operator
Unary = Query.UnaryFilter.Operator
OR = int(Query.CompositeFilter.Operator.OR)
DESCENDING = int(Query.Direction.DESCENDING)
INEQUALITIES = (
    Operator.LESS_THAN, Operator.LESS_THAN_OR_EQUAL, Operator.GREATER_THAN,
    Operator.GREATER_THAN_OR_EQUAL, Operator.NOT_EQUAL, Operator.NOT_IN,
)  # fmt: skip
Row = tuple[list[Key], Message]  # what it is sorted by, and the document
Order = tuple[str, bool]  # field path, descending
COMPARE: dict[int, Callable[[Key, Key], bool]] = {
    Operator.LESS_THAN: lambda a, b: a[0] == b[0] and a < b,
    Operator.LESS_THAN_OR_EQUAL: lambda a, b: a[0] == b[0] and a <= b,
    Operator.GREATER_THAN: lambda a, b: a[0] == b[0] and a > b,
    Operator.GREATER_THAN_OR_EQUAL: lambda a, b: a[0] == b[0] and a >= b,
    Operator.EQUAL: lambda a, b: a == b,
    Operator.NOT_EQUAL: lambda a, b: a[0] != NULL_RANK and a != b,
    Operator.ARRAY_CONTAINS: lambda a, b: a[0] == ARRAY_RANK and b in a[1],
    Operator.IN: lambda a, b: a in b[1],
    Operator.ARRAY_CONTAINS_ANY: lambda a, b: a[0] == ARRAY_RANK and any(x in b[1] for x in a[1]),
    Operator.NOT_IN: lambda a, b: a[0] != NULL_RANK and a not in b[1],
}


def matches(document: Message, condition: Message) -> bool:
    """Tell whether a document passes a filter."""
    kind = condition.WhichOneof("filter_type")
    if kind == "composite_filter":
        parts = (matches(document, part) for part in condition.composite_filter.filters)
        return any(parts) if condition.composite_filter.op == OR else all(parts)
    single = getattr(condition, kind)
    value = document_field(document, single.field.field_path)
    if value is None:
        return False
    if kind == "unary_filter":
        return _matches_unary(single.op, value)
    compare = COMPARE.get(single.op)
    if compare is None:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"operator {single.op}")
    return compare(sort_key(value), sort_key(single.value))


def _matches_unary(operator: int, value: Message) -> bool:
    is_null = kind_of(value) == "null_value"
    is_nan = kind_of(value) == "double_value" and math.isnan(value.double_value)
    return {
        int(Unary.IS_NAN): is_nan,
        int(Unary.IS_NULL): is_null,
        int(Unary.IS_NOT_NAN): not is_nan,
        int(Unary.IS_NOT_NULL): not is_null,
    }[operator]


def inequality_fields(condition: Message) -> list[str]:
    """Return the fields with an inequality: without an order of its own a query goes by them."""
    kind = condition.WhichOneof("filter_type")
    if kind == "composite_filter":
        return [
            path for part in condition.composite_filter.filters for path in inequality_fields(part)
        ]
    if kind == "field_filter" and condition.field_filter.op in INEQUALITIES:
        return [condition.field_filter.field.field_path]
    return []


def collections_of(store: Store, parent: str, query: Message) -> list[str]:
    """Return the collections that a query looks at."""
    source: Message = query.from_[0]
    if not source.all_descendants:
        return [f"{parent}/{source.collection_id}"]
    with store.lock:
        return [
            name
            for name in store.collections
            if name.startswith(parent + "/")
            and source.collection_id in ("", name.rsplit("/", 1)[1])
        ]


def run_query(store: Store, parent: str, query: Message) -> list[Message]:
    """Return the documents that a query finds, in its order."""
    with store.lock:
        documents = [
            document
            for name in collections_of(store, parent, query)
            for document in store.collections.get(name, {}).values()
        ]
    if query.HasField("where"):
        documents = [document for document in documents if matches(document, query.where)]
    found = _cut(_sorted(documents, query), query)
    return [_selected(document, query.select) for document in found] if query.HasField(
        "select"
    ) else found  # fmt: skip


def _orders(query: Message) -> list[Order]:
    orders = [(o.field.field_path, o.direction == DESCENDING) for o in query.order_by]
    if not orders and query.HasField("where"):
        for path in inequality_fields(query.where):
            if (path, False) not in orders:
                orders.append((path, False))
    if not any(path == NAME for path, _ in orders):
        orders.append((NAME, orders[-1][1] if orders else False))
    return orders


def _compare(a: Sequence[Key], b: Sequence[Key], orders: Sequence[Order]) -> int:
    """Compare as far as both reach: a cursor may name fewer fields."""
    for left, right, (_, descending) in zip(a, b, orders, strict=False):
        if left != right:
            return (-1 if left < right else 1) * (-1 if descending else 1)
    return 0


def _sorted(documents: Sequence[Message], query: Message) -> list[Message]:
    """Sort, leave out what lacks a field of the order, and cut at the cursors."""
    orders = _orders(query)
    rows: list[Row] = []
    for document in documents:
        values = [document_field(document, path) for path, _ in orders]
        if all(value is not None for value in values):
            rows.append(([sort_key(value) for value in values], document))

    def in_order(a: Row, b: Row) -> int:
        return _compare(a[0], b[0], orders)

    rows.sort(key=functools.cmp_to_key(in_order))
    if query.HasField("start_at"):
        cursor = [sort_key(value) for value in query.start_at.values]
        least = 0 if query.start_at.before else 1
        rows = [row for row in rows if _compare(row[0], cursor, orders) >= least]
    if query.HasField("end_at"):
        cursor = [sort_key(value) for value in query.end_at.values]
        most = -1 if query.end_at.before else 0
        rows = [row for row in rows if _compare(row[0], cursor, orders) <= most]
    return [row[1] for row in rows]


def _cut(documents: list[Message], query: Message) -> list[Message]:
    documents = documents[query.offset :]
    return documents[: query.limit.value] if query.HasField("limit") else documents


def _selected(document: Message, select: Message) -> Message:
    """Return a copy with the selected fields alone."""
    copy = Document(
        name=document.name, create_time=document.create_time, update_time=document.update_time
    )
    for chosen in select.fields:
        path = split_path(chosen.field_path)
        value = None if chosen.field_path == NAME else get_field(document.fields, path)
        if value is not None:
            set_field(copy.fields, path, value)
    return copy


def aggregate(documents: Sequence[Message], aggregation: Message, result: Message) -> None:
    """Fill in one aggregation's result."""
    kind = aggregation.WhichOneof("operator")
    if kind == "count":
        most = aggregation.count.up_to.value if aggregation.count.HasField("up_to") else None
        result.integer_value = len(documents) if most is None else min(len(documents), most)
        return
    path = getattr(aggregation, kind).field.field_path
    values = [document_field(document, path) for document in documents]
    numbers = [
        getattr(value, kind_of(value))
        for value in values
        if value is not None and rank_of(value) == NUMBER_RANK
    ]
    if kind == "sum":
        total = sum(numbers)
        if isinstance(total, int):
            result.integer_value = total
        else:
            result.double_value = total
    elif numbers:
        result.double_value = sum(numbers) / len(numbers)
    else:
        result.null_value = 0
