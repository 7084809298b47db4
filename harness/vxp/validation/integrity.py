"""Level integrity: every byte is the one that was sealed. One pass over the payload serves the level content as well."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from vxp.bundles import MAX_TOTAL
from vxp.validation import arrays
from vxp.validation.arrays import Tensor
from vxp.validation.state import ASet, State

Look = Callable[[ASet, int, int, np.ndarray], None]
"""What sees the maps in passing: set, number of the shard, first row in it, maps [rows, h, w]."""
CHUNK = 1 << 20


def check(state: State, look: Look | None = None) -> None:
    whole = sum(state.bundle.size(path) for path in state.bundle.paths)
    if whole > MAX_TOTAL:  # a file of holes claims years of hashing
        state.not_checked("digests", f"the bundle has {whole} bytes, which is more than a bundle may have")
        return
    shards = {found.inside(shard["descriptor"]["path"]): (found, number)
              for found in state.sets for number, shard in enumerate(found.document["shards"])}
    for path, facts in state.described.items():
        if path not in state.bundle.entries or not facts or state.bundle.size(path) != facts["size"]:
            continue
        found, number = shards.get(path, (None, 0))
        tensor = found.shards[number] if found is not None and number < len(found.shards) else None
        if found is not None and tensor is not None:
            digest = _shard(state, found, number, path, tensor, look)
        else:
            digest = _file(state, path)
        if digest != facts["digest"]:
            state.findings.add("VXP-I003", path, "", digest, facts["digest"])


def _file(state: State, path: str) -> str:
    hasher = hashlib.sha256()
    with state.bundle.stream(path) as stream:
        while part := stream.read(CHUNK):
            hasher.update(part)
    return f"sha256:{hasher.hexdigest()}"


def _shard(state: State, found: ASet, number: int, path: str, tensor: Tensor, look: Look | None) -> str:
    """The digest of a shard; on the way every map is held against its row's digest, and looked at."""
    hasher = hashlib.sha256()
    expected = _row_digests(state, found, number, tensor.shape[0])
    with state.bundle.stream(path) as stream:
        hasher.update(stream.read(tensor.start))
        for first, data, maps in arrays.blocks(stream, tensor):
            hasher.update(data)
            size = len(data) // len(maps)
            for i in range(len(maps)):
                row = expected[first + i] if expected else None
                if row is not None and hashlib.sha256(data[i * size : (i + 1) * size]).digest() != row[1]:
                    state.findings.add("VXP-I005", path, f"row {first + i}, item {row[0]}", "a map of other bytes",
                                       "the map whose SHA-256 is payload_digest in items.parquet")
            if look is not None:
                look(found, number, first, maps)
    return f"sha256:{hasher.hexdigest()}"


def _row_digests(state: State, found: ASet, number: int, rows: int) -> list[tuple[str, bytes] | None]:
    """Item and digest of every row of a shard, by the places that the table of items states."""
    if found.items is None:
        state.not_checked("digests of single maps", "the table of items could not be read")
        return []
    items = found.items
    place: list[tuple[str, bytes] | None] = [None] * rows
    for item, shard, row, digest in zip(items["item_id"], items["shard"], items["shard_row"], items["payload_digest"],
                                        strict=True):
        if shard == number and 0 <= row < rows and isinstance(digest, bytes):
            place[int(row)] = (str(item), digest)
    return place
