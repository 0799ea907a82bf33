"""How large a document is in Firestore, by its published rules.

https://firebase.google.com/docs/firestore/storage-size: strings are their UTF-8 bytes + 1,
numbers and times 8, booleans and null 1, bytes their length; a document's name 16 more than its
parts, the document itself 32 more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

NAME_BYTES = 16
DOCUMENT_BYTES = 32
NUMBER_BYTES = 8


def text_bytes(text: str) -> int:
    """Return what a string takes."""
    return len(text.encode()) + 1


def value_bytes(value: object) -> int:
    """Return what a field's value takes; TypeError for what Firestore has no type for."""
    match value:
        case None | bool():
            return 1
        case int() | float() | datetime():
            return NUMBER_BYTES
        case str():
            return text_bytes(value)
        case bytes():
            return len(value)
        case Mapping():
            return fields_bytes(value)
        case Sequence():
            return sum(map(value_bytes, value))
    msg = f"{type(value).__name__} cannot stand in a document"
    raise TypeError(msg)


def fields_bytes(fields: Mapping[str, object]) -> int:
    """Return what the fields of a document or map take, names included."""
    return sum(text_bytes(name) + value_bytes(value) for name, value in fields.items())


def document_bytes(path: str, fields: Mapping[str, object]) -> int:
    """Return what a document takes; `path` alternates collections and documents."""
    name = NAME_BYTES + sum(map(text_bytes, path.split("/")))
    return name + fields_bytes(fields) + DOCUMENT_BYTES
