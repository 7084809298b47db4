"""Reads a run folder for the report. Every file is checked against its digest; what is wrong is a VxpError."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from vxp import store
from vxp.core import VxpError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Entry:
    """One result of the run: the scores of one explainer."""

    root: Path
    label: str
    document: Mapping[str, Any]
    samples: pa.Table

    @property
    def reference(self) -> bool:
        return bool(self.document["explainer"]["reference"])

    @cached_property
    def scores(self) -> dict[str, Mapping[str, Any]]:
        return {score["signature"]: score for score in self.document["scores"]}

    def values(self, signature: str) -> Floats:
        """One score per item, NaN where there is none."""
        if signature not in self.samples.column_names:
            raise VxpError(f"{self.root / self.document['samples']['path']} has no column {signature!r}, which result.json names; "
                           "expected the samples of every score")
        return np.array([np.nan if v is None else v for v in self.samples[signature].to_pylist()], float)

    @cached_property
    def curves(self) -> dict[str, Tensor]:
        described = self.document.get("curves")
        return {} if described is None else _tensors(self.root, described)

    @cached_property
    def environment(self) -> dict[str, Any]:
        described = self.document["environment"]
        store.read_described(self.root, described)
        return store.read_document(self.root / described["path"])

    def maps(self, rows: Sequence[int]) -> tuple[dict[int, Tensor], dict[int, str]]:
        """The native maps [h, w] of these rows, and the rows' statuses; only the shards that hold them are read."""
        store.read_described(self.root, self.document["set"])
        path = self.root / self.document["set"]["path"]
        document = store.read_document(path)
        status = _table(path.parent, document["items"])["status"].to_pylist()
        found: dict[int, Tensor] = {}
        for shard in document["shards"]:
            first, stop = shard["first_row"], shard["first_row"] + shard["rows"]
            inside = [row for row in rows if first <= row < stop]
            if inside:
                values = store.read_maps(path.parent, [shard])
                found |= {row: values[row - first].clone() for row in inside}
        lacking = sorted({row for row in rows if row not in found or row >= len(status)})
        if lacking:
            raise VxpError(f"{path} has no maps of the rows {lacking}, which the gallery shows; expected rows below {len(status)}")
        return found, {row: str(status[row]) for row in rows}


@dataclass(frozen=True)
class Picture:
    """An input image of the gallery."""

    item: str
    row: int
    target: str
    file: Path


@dataclass(frozen=True, eq=False)
class Run:
    """All results of a run folder, explainers in the order of the run, references after them."""

    root: Path
    settings: Mapping[str, Any]
    entries: tuple[Entry, ...]
    pictures: tuple[Picture, ...]

    @property
    def first(self) -> Mapping[str, Any]:
        return self.entries[0].document

    @cached_property
    def clusters(self) -> list[str]:
        return [str(c) for c in self.entries[0].samples["cluster"].to_pylist()]


def read(root: Path) -> Run:
    """A run folder; VxpError where there are no results, or where a file is missing, damaged or of another run."""
    paths = sorted((root / "results").glob("*/result.json"))
    if not paths:
        raise VxpError(f"{root} holds no results (looked for {root / 'results'}/*/result.json): expected a folder that vxp run "
                       "or vxp score wrote to its end; run the command again to finish it")
    settings = store.read_document(root / "run.json")
    documents = [store.read_document(path) for path in paths]
    _of_one_run(paths, documents)
    order = [(e["id"], e["parameters"]) for e in settings["explainers"]]
    documents.sort(key=lambda d: _place(order, d["explainer"]))
    labels = names([d["explainer"] for d in documents])
    entries = tuple(Entry(root, label, d, _table(root, d["samples"])) for label, d in zip(labels, documents, strict=True))
    _of_same_items(entries)
    return Run(root, settings, entries, _pictures(root, len(entries[0].samples)))


def names(explainers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that tell explainers apart: the id, with those parameters that differ where one id is there twice."""
    ids = Counter(e["id"] for e in explainers)
    found = []
    for e in explainers:
        alike = [other["parameters"] for other in explainers if other["id"] == e["id"]]
        own = [f"{k}:{v}" for k, v in e["parameters"].items() if any(p.get(k) != v for p in alike)]
        found.append("|".join([e["id"], *own]) if ids[e["id"]] > 1 else str(e["id"]))
    return found


def _place(order: Sequence[tuple[str, Any]], explainer: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """References last, the oracle, which is the ceiling, after the floors; otherwise the order of the run."""
    key = explainer["id"], explainer["parameters"]
    return bool(explainer["reference"]), explainer["id"] == "oracle", order.index(key) if key in order else len(order)


def _of_one_run(paths: Sequence[Path], documents: Sequence[Mapping[str, Any]]) -> None:
    for path, document in zip(paths, documents, strict=True):
        for what in ("task", "model"):
            if document[what] != documents[0][what]:
                raise VxpError(f"{path} is of the {what} {document[what]}, and {paths[0]} of {documents[0][what]}: expected the "
                               "results of one run; move the others to a folder of their own")


def _of_same_items(entries: Sequence[Entry]) -> None:
    first = entries[0].samples["item_id"].to_pylist()
    for entry in entries:
        items = entry.samples["item_id"].to_pylist()
        if items != first:
            raise VxpError(f"{entry.root / entry.document['samples']['path']} has other items ({len(items)}) than the first "
                           f"result ({len(first)}): expected the same items in the same order")


def _pictures(root: Path, items: int) -> tuple[Picture, ...]:
    index = root / "gallery" / "index.json"
    if not index.exists():
        return ()
    try:
        listed = json.loads(index.read_bytes())
        return tuple(_picture(index, entry, items) for entry in listed)
    except (ValueError, TypeError, KeyError) as error:
        raise VxpError(f"{index} is damaged ({type(error).__name__}: {error}): expected a list of objects with item_id, file, "
                       "row and target_name; delete the folder and run the same command again") from error


def _picture(index: Path, entry: Mapping[str, Any], items: int) -> Picture:
    file, row = str(entry["file"]), int(entry["row"])
    if Path(file).name != file:
        raise VxpError(f"{index} names the file {file!r}: expected the name of a file beside it")
    if not 0 <= row < items:
        raise VxpError(f"{index} names row {row} of {items} items")
    return Picture(str(entry["item_id"]), row, str(entry["target_name"]), index.parent / file)


def _table(root: Path, described: Mapping[str, Any]) -> pa.Table:
    try:
        return store.read_table(store.read_described(root, described))
    except pa.ArrowException as error:
        raise VxpError(f"{root / described['path']} is no Parquet file: {error}") from error


def _tensors(root: Path, described: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    try:
        return dict(safetensors.torch.load(store.read_described(root, described)))
    except safetensors.SafetensorError as error:
        raise VxpError(f"{root / described['path']} is no safetensors file: {error}") from error
