"""A run folder as the report needs it: every file checked against its schema or digest before it is believed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
import safetensors.torch
import vxp_schemas
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from vxp import store
from vxp.core import OK, VxpError, resampled

Floats = NDArray[np.float64]

ID_COLUMNS = ("item_id", "cluster")


@dataclass(frozen=True, eq=False)
class Curve:
    """The curves behind a score: y [N, S+1] over the fractions x [S+1]; rows of items without a number are NaN."""

    x: Floats
    y: Floats


@dataclass(frozen=True, eq=False)
class System:
    """One explainer of the run: its result document, its scores per item, and what made it."""

    name: str
    document: Mapping[str, Any]
    values: Mapping[str, Floats]
    curves: Mapping[str, Curve]
    environment: Mapping[str, Any]
    made_by: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.document["explainer"]["id"])

    @property
    def reference(self) -> bool:
        return bool(self.document["explainer"]["reference"])

    def score(self, signature: str) -> Mapping[str, Any] | None:
        return next((s for s in self.document["scores"] if s["signature"] == signature), None)


@dataclass(frozen=True)
class Shown:
    """An input image of the gallery. file is inside the run folder; row is the item's place in the run."""

    item_id: str
    file: Path
    row: int
    target_name: str


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder that was read: methods first, then the references, both in the order of the run."""

    folder: Path
    document: Mapping[str, Any]
    systems: tuple[System, ...]
    items: tuple[str, ...]
    clusters: tuple[str, ...]
    gallery: tuple[Shown, ...]

    @property
    def methods(self) -> tuple[System, ...]:
        return tuple(s for s in self.systems if not s.reference)

    @property
    def references(self) -> tuple[System, ...]:
        return tuple(s for s in self.systems if s.reference)

    @property
    def flags(self) -> list[str]:
        return list(dict.fromkeys(flag for s in self.systems for flag in s.document["flags"]))

    @property
    def cluster_key(self) -> str:
        keys = [s["ci"]["cluster_key"] for system in self.systems for s in system.document["scores"] if "ci" in s]
        return keys[0] if keys else "cluster"


def read(folder: Path) -> Run:
    """Read a run folder. VxpError for a folder that holds no run, and for anything missing, damaged or contradictory."""
    if not folder.is_dir():
        raise VxpError(f"{folder} is no folder: expected the folder that `vxp run` wrote with --out")
    document = store.read_document(folder / "run.json")
    paths = sorted((folder / "results").glob("*/result.json"))
    if not paths:
        raise VxpError(f"{folder} holds no result: expected results/*/result.json there; run the command of this run "
                       "again, it goes on where it was stopped")
    results = [store.read_document(path) for path in paths]
    _of_this_run(document, results, paths)
    names = _names(results)
    order = {_key(method): i for i, method in enumerate(document["explainers"])}
    tables = [_samples(folder, result) for result in results]
    items, clusters = (tuple(map(str, tables[0][column].to_pylist())) for column in ID_COLUMNS)
    for path, table in zip(paths, tables, strict=True):
        if tuple(map(str, table["item_id"].to_pylist())) != items:
            raise VxpError(f"{path.parent / 'samples.parquet'} has other items than {paths[0].parent / 'samples.parquet'}: "
                           "expected the same items in the same order in every result of a run")
    systems = [_system(folder, name, result, table) for name, result, table in zip(names, results, tables, strict=True)]
    systems.sort(key=lambda s: (s.reference, order.get(_key(s.document["explainer"]), len(order)), s.name))
    return Run(folder, document, tuple(systems), items, clusters, _gallery(folder, items))


def _of_this_run(run: Mapping[str, Any], results: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> None:
    for path, result in zip(paths, results, strict=True):
        for what in ("task", "model"):
            if result[what] != run[what]:
                raise VxpError(f"{path} is of {what} {result[what]}, expected {run[what]} as run.json says: results of "
                               "another run lie in this folder")


def _key(method: Mapping[str, Any]) -> str:
    return vxp_schemas.digest([method["id"], method["parameters"]])


def _names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The explainer's id; where one id stands for several settings, with the parameters in which they differ."""
    methods = [result["explainer"] for result in results]
    twice = {id for id, n in Counter(m["id"] for m in methods).items() if n > 1}
    names = []
    for method in methods:
        same = [m["parameters"] for m in methods if m["id"] == method["id"]]
        differs = [k for k in method["parameters"] if any(p.get(k) != method["parameters"][k] for p in same)]
        parts = [f"{k}:{method['parameters'][k]}" for k in differs] if method["id"] in twice else []
        names.append("|".join([method["id"], *parts]))
    return [name if names.count(name) == 1 else result["result_id"] for name, result in zip(names, results, strict=True)]


def _samples(folder: Path, result: Mapping[str, Any]) -> pa.Table:
    data = store.read_described(folder, result["samples"])
    where = folder / result["samples"]["path"]
    try:
        table = store.read_table(data)
    except pa.ArrowException as error:
        raise VxpError(f"{where} is no Parquet table ({error}); delete it and run the same command again") from error
    expected = [*ID_COLUMNS, *(c for s in result["scores"] for c in (s["signature"], f"{s['signature']}#status"))]
    absent = [column for column in expected if column not in table.column_names]
    if absent:
        raise VxpError(f"{where} lacks the columns {', '.join(absent)}; it has {', '.join(table.column_names)}")
    return table


def _system(folder: Path, name: str, result: Mapping[str, Any], table: pa.Table) -> System:
    values = {s["signature"]: np.array([np.nan if v is None else v for v in table[s["signature"]].to_pylist()], float)
              for s in result["scores"]}
    environment = vxp_schemas.loads(store.read_described(folder, result["environment"]))
    made_by = folder / "systems" / f"{result['result_id']}.json"
    return System(name, result, values, _curves(folder, result, len(table)), environment,
                  store.read_document(made_by) if made_by.exists() else {})


def _curves(folder: Path, result: Mapping[str, Any], n: int) -> dict[str, Curve]:
    if "curves" not in result:
        return {}
    where = folder / result["curves"]["path"]
    try:
        tensors = safetensors.numpy.load(store.read_described(folder, result["curves"]))
    except SafetensorError as error:
        raise VxpError(f"{where} is no safetensors file ({error}); delete it and run the same command again") from error
    found = {}
    for signature in (k for k in tensors if not k.endswith("#x")):
        y, x = tensors[signature].astype(np.float64), tensors.get(f"{signature}#x")
        if x is None or y.shape != (n, len(x)):
            raise VxpError(f"{where}: curve {signature!r} has shape {list(y.shape)} over "
                           f"{'no x' if x is None else f'{len(x)} points'}, expected [{n}, points] with '{signature}#x'")
        found[signature] = Curve(x.astype(np.float64), y)
    return found


# ------------------------------------------------------------------------------------------------------------- pictures


def _gallery(folder: Path, items: Sequence[str]) -> tuple[Shown, ...]:
    """The input images of the gallery; none where the run kept none."""
    index = folder / "gallery" / "index.json"
    if not index.exists():
        return ()
    try:
        entries = [(str(e["item_id"]), str(e["file"]), str(e["target_name"])) for e in vxp_schemas.loads(index.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise VxpError(f"{index} is damaged ({error!r}): expected a list of objects with item_id, file and target_name; "
                       "delete it and run the same command again") from error
    rows = {item: row for row, item in enumerate(items)}
    for item_id, file, _ in entries:
        if item_id not in rows:
            raise VxpError(f"{index} names item {item_id!r}, which is not among the {len(items)} items of the results")
        if Path(file).name != file or not (index.parent / file).is_file():
            raise VxpError(f"{index} names file {file!r}: expected the name of a file in {index.parent}")
    return tuple(Shown(item_id, index.parent / file, rows[item_id], target) for item_id, file, target in entries)


def picture(shown: Shown) -> Image.Image:
    """The gallery's input image in RGB."""
    try:
        with Image.open(shown.file) as opened:
            return opened.convert("RGB")
    except OSError as error:
        raise VxpError(f"{shown.file} is no readable image ({error}); delete gallery/index.json and run the same command "
                       "again") from error


def maps(run: Run, system: System, rows: Sequence[int]) -> dict[int, Tensor | None]:
    """The native maps [h, w] of some rows of a system's set; None where the map could not be made.

    One shard is in memory at a time, and each is checked against its digest.
    """
    manifest = run.folder / str(system.document["set"]["path"])
    store.read_described(run.folder, system.document["set"])
    document = store.read_document(manifest)
    status = store.read_table(store.read_described(manifest.parent, document["items"]))["status"].to_pylist()
    found: dict[int, Tensor | None] = {}
    for shard in document["shards"]:
        first, last = shard["first_row"], shard["first_row"] + shard["rows"]
        wanted = [row for row in rows if first <= row < last]
        if wanted:
            values = store.read_maps(manifest.parent, [shard])
            found |= {row: values[row - first].clone() if status[row] == OK else None for row in wanted}
    absent = [row for row in rows if row not in found]
    if absent:
        raise VxpError(f"{manifest} has no shard for rows {absent[:5]}, expected all of {len(run.items)} items")
    return found


def on_grid(native: Tensor, system: System, size: tuple[int, int]) -> Floats:
    """A native map on the grid (H, W) by the set's rule; a map that is not resampled is shown as it is."""
    rule = system.document["explainer"]["resample"]
    wide = resampled(native[None].float(), size, "bilinear" if rule == "none" else rule)[0]
    return np.asarray(wide.numpy(), dtype=np.float64)


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
