"""How sets of scores of parts divide their videos: the parts of every row, and what of the output the scores explain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from vxp_schemas import typed

from vxp.documents import Listed, shots
from vxp.validation import arrays
from vxp.validation.state import ASet, State

LENGTHS, SEGMENTS = "lengths", "segments"
Ranges = Sequence[Sequence[int]]


def check(state: State, found: ASet, expected: Sequence[Listed] | None) -> None:
    """Rows whose parts do not divide the video, or are not those of the task; expected: the task's items, where they are known
    here."""
    _explanandum(state, found)
    if found.document["kind"] != "temporal" or found.items is None or state.record:
        return
    unit, row = found.document["explainer"]["resample"], 0
    for number, shard in enumerate(found.document["shards"]):
        path = found.inside(shard["descriptor"]["path"])
        read = None if found.shards[number] is None else _read(state, path)
        for i in range(shard["rows"] if read is not None and row + shard["rows"] <= found.items.rows else 0):
            assert read is not None
            length, segments = int(read[0][i]), read[1][i]
            where = f"row {row + i}, item {ascii(found.items['item_id'][row + i])[1:-1][:128]}"
            if not 1 <= length <= len(segments) or segments[length:].any():
                state.findings.add("VXP-C026", path, where, f"{length} parts of at most {len(segments)}, or parts behind the "
                                   "last", "1 part or more, and zeros behind the last")
                continue
            parts = segments[:length].tolist()
            faults = shots.faults(parts, parts[-1][1])
            for fault in faults:
                state.findings.add("VXP-C026", path, where, fault, "half-open ranges of frames that follow on each other from "
                                   "frame 0 to the end of the video")
            if not faults and expected is not None and row + i < len(expected):
                _of_task(state, path, where, unit, parts, expected[row + i])
        row += shard["rows"]


def _of_task(state: State, path: str, where: str, unit: str, parts: Ranges, item: Listed) -> None:
    """The parts beside the list of shots of the task's item."""
    shots = item["recipe"].get("segments")
    if shots is None:
        return
    if unit == "fragment" and [list(part) for part in parts] != [list(shot) for shot in shots]:
        place = next((k for k, (a, b) in enumerate(zip(parts, shots, strict=False)) if list(a) != list(b)),
                     min(len(parts), len(shots)))
        got, wanted = (f"{list(some[place])}" if place < len(some) else "none" for some in (parts, shots))
        state.findings.add("VXP-C027", path, where, f"{len(parts)} fragments, fragment {place} {got}",
                           f"the task's {len(shots)} fragments, fragment {place} {wanted}")
    elif parts[-1][1] != shots[-1][1]:
        state.findings.add("VXP-C027", path, where, f"parts up to frame {parts[-1][1]}",
                           f"up to {shots[-1][1]}, the end of the task's video")


def _explanandum(state: State, found: ASet) -> None:
    """Scores of parts say what they explain, and regions of clips may; of a model without classes they explain no class."""
    said = found.document["explainer"].get("explanandum")
    if (said is not None) != (found.document["kind"] == "temporal") and (said is None or found.document["kind"] != "regions3d"):
        state.findings.add("VXP-C028", found.path, "/explainer/explanandum", "none" if said is None else repr(said),
                           "what the scores explain" if said is None else "no explanandum: maps explain the target class")
        return
    model = state.entry("models", found.document["model"])
    if said is None or model is None:
        return
    if (said == "class") != (output_of(model) == "classes"):
        state.findings.add("VXP-C028", found.path, "/explainer/explanandum", repr(said),
                           f"what a model of the output {output_of(model)!r} can be explained for")


def output_of(model: typed.Model) -> str:
    """What a model says, by its document."""
    return model.get("output", "classes")


def _read(state: State, path: str) -> tuple[np.ndarray, np.ndarray] | None:
    with state.bundle.stream(path) as stream:
        try:
            found = arrays.tensors(stream, state.bundle.size(path))
            return arrays.values(stream, found[LENGTHS]), arrays.values(stream, found[SEGMENTS])
        except (arrays.Malformed, KeyError):
            return None  # the level structure has said so


__all__ = ["LENGTHS", "SEGMENTS", "check", "output_of"]
