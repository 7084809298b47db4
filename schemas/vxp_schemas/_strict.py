"""The strict reader that stands in front of the schemas: I-JSON (RFC 7493) with bounded size and depth.

Python's json accepts a byte-order mark, UTF-16, NaN, numbers beyond a double and repeated keys (the last wins), and no
schema can see any of these afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from vxp_schemas._errors import MAX_FAULTS, Fault, InvalidDocument, pointer, shown

MAX_BYTES: Final = 16 * 2**20
MAX_DEPTH: Final = 64
MAX_COMMAS: Final = 1_000_000
"""Millions of empty lists cost minutes in every check, and their commas are counted before anything is built."""
MAX_INTEGER: Final = 2**53 - 1

_NOT_UTF8: Final = {
    b"\xef\xbb\xbf": "a UTF-8 byte-order mark",
    b"\xff\xfe": "a UTF-16 or UTF-32 byte-order mark",
    b"\xfe\xff": "a UTF-16 byte-order mark",
    b"\x00\x00\xfe\xff": "a UTF-32 byte-order mark",
}
# surrogates and noncharacters: RFC 7493 section 2.1
_PLANE_ENDS: Final = "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
_FORBIDDEN: Final = re.compile(f"[\ud800-\udfff\ufdd0-\ufdef{_PLANE_ENDS}]")


@dataclass(frozen=True)
class _Refused:
    """Stands in the parsed tree for a number that is not allowed, so that its place can be reported."""

    literal: str


def loads(data: bytes) -> Any:
    """The value of a JSON text, read strictly.

    Refuses a byte-order mark, any encoding but UTF-8, repeated keys, NaN and Infinity, numbers that a double cannot
    hold, integers beyond 2^53-1, surrogates and noncharacters, more than 64 levels, 1,000,000 commas and 16 MiB.
    Raises InvalidDocument with every such fault at once, up to 1,000 (a syntax error alone, with its line and column).
    """
    text = _decoded(data)
    repeated: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            # the object is kept too: were it dropped, another could come to live under the same id
            repeated[id(found)] = (found, sorted(key for key, n in counts.items() if n > 1))
        return found

    try:
        value = json.loads(
            text, object_pairs_hook=collect, parse_constant=_Refused, parse_float=_number, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidDocument([Fault("", f"{error.msg} at {where}", "well-formed JSON (RFC 8259)")]) from None
    except RecursionError:
        raise InvalidDocument([_too_deep("")]) from None
    faults = list(islice(value_faults(value, {key: names for key, (_, names) in repeated.items()}), MAX_FAULTS))
    if faults:
        raise InvalidDocument(faults)
    return value


def value_faults(value: Any, repeated: dict[int, list[str]] | None = None) -> Iterator[Fault]:
    """The faults of a parsed value that no schema sees: not JSON, not finite, too large, too deep, repeated keys."""
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while todo:
        item, path = todo.pop()
        yield from _own_faults(item, path)
        for key in (repeated or {}).get(id(item), ()):
            yield Fault(pointer((*path, key)), f"the key {shown(key)} more than once", "each key once in an object")
        if isinstance(item, dict | list) and len(path) >= MAX_DEPTH:
            yield _too_deep(pointer(path))
        else:
            todo.extend((child, (*path, key)) for key, child in reversed(_children(item)))


def _children(item: Any) -> list[tuple[str | int, Any]]:
    if isinstance(item, dict):
        return list(item.items())
    return list(enumerate(item)) if isinstance(item, list) else []


def _own_faults(item: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    # the pointer only where there is a fault: a long key above many values would be written out for each
    if isinstance(item, _Refused):
        yield Fault(pointer(path), item.literal, f"a finite number that a double holds, integers up to {MAX_INTEGER} (2^53-1)")
    elif isinstance(item, str):
        if _FORBIDDEN.search(item):
            yield Fault(pointer(path), f"the text {shown(item)}", "text without surrogates and noncharacters (RFC 7493)")
    elif isinstance(item, bool | None):
        pass
    elif isinstance(item, int):
        if abs(item) > MAX_INTEGER:
            yield Fault(pointer(path), shown(item), f"an integer up to {MAX_INTEGER} (2^53-1)")
    elif isinstance(item, float):
        if not math.isfinite(item):
            yield Fault(pointer(path), repr(float(item)), "a finite number; an unknown value is an absent field")
    elif isinstance(item, dict):
        for key in item:
            if not isinstance(key, str) or _FORBIDDEN.search(key):
                yield Fault(pointer(path), f"the key {shown(key)}", "keys that are text without surrogates and noncharacters")
    elif not isinstance(item, list):
        yield Fault(pointer(path), f"a Python {type(item).__name__}",
                    "a JSON value: dict, list, str, int, float, bool or None")


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise InvalidDocument([Fault("", f"{len(data)} bytes", f"at most {MAX_BYTES} bytes (16 MiB)")])
    for mark, name in _NOT_UTF8.items():
        if data.startswith(mark):
            raise InvalidDocument([Fault("", f"{name} at byte 0", "UTF-8 without a byte-order mark")])
    try:
        text = data.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InvalidDocument([Fault("", found, "UTF-8 without a byte-order mark")]) from None
    if text.count(",") > MAX_COMMAS:
        raise InvalidDocument([Fault("", f"{text.count(',')} commas", f"at most {MAX_COMMAS}, and so about as many values")])
    if "\0" in text[:4]:
        # UTF-16 and UTF-32 of ASCII text without a mark are valid UTF-8 with zero bytes
        raise InvalidDocument([Fault("", "a zero byte among the first four: UTF-16 or UTF-32", "UTF-8")])
    return text


def _number(literal: str) -> float | _Refused:
    value = float(literal)
    return value if math.isfinite(value) else _Refused(_cut(literal))


def _integer(literal: str) -> int | _Refused:
    # the length first: Python refuses to convert thousands of digits
    if len(literal) <= 17 and abs(value := int(literal)) <= MAX_INTEGER:
        return value
    return _Refused(_cut(literal))


def _cut(literal: str) -> str:
    """A number as it was written, cut where it is long."""
    return literal if len(literal) <= 40 else f"{literal[:40]}... ({len(literal)} digits)"


def _too_deep(where: str) -> Fault:
    return Fault(where, f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels of objects and arrays")
