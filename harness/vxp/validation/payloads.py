"""Payloads of kinds that are more than numbers on a grid: regions and texts are what their kinds say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vxp.documents import regions, rules, words
from vxp.errors import OK, VxpError
from vxp.validation.state import ASet, State

CODES = {"regions": "VXP-C029", "regions3d": "VXP-C029", "text": "VXP-C030", "rules": "VXP-C031"}
"""The rule of a kind's payload."""
WANTED = {"VXP-C029": "regions numbered 0, 1, 2, ..., -1 for none, with one score each, 0 for none",
          "VXP-C030": "a JSON document of a text and its claims in UTF-8, with zeros behind it",
          "VXP-C031": "a JSON document of a rule, what it says and what otherwise, in UTF-8, with zeros behind it"}

READERS: Mapping[str, Callable[[bytes], object]] = {"VXP-C030": words.of_bytes, "VXP-C031": rules.of_bytes}
"""What refuses a payload of bytes, by its rule."""


def check(state: State, found: ASet, number: int, row: int, rows: np.ndarray) -> None:
    """Rows of a shard, from this row of the set on, by the rules of their kind."""
    kind = found.document["kind"]
    code, items = CODES.get(kind), found.items
    if code is None or items is None:
        return
    path = found.inside(found.document["shards"][number]["descriptor"]["path"])
    for i, payload in enumerate(rows):
        if items["status"][row + i] != OK:
            continue
        for fault in regions.faults(payload) if code == "VXP-C029" else _read(READERS[code], payload):
            where = f"row {row + i}, item {ascii(items['item_id'][row + i])[1:-1][:128]}"
            state.findings.add(code, path, where, fault, WANTED[code])


def _read(reader: Callable[[bytes], object], payload: np.ndarray) -> list[str]:
    try:
        reader(payload.tobytes())
    except VxpError as error:
        return [str(error)]
    return []


__all__ = ["check"]
