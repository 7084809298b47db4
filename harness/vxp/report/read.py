"""What a report shows, read from a run folder and checked against the digests in its documents."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image
from vxp_schemas import typed

from vxp import stats
from vxp.core import VxpError
from vxp.documents import store
from vxp.report import counterfactuals
from vxp.report.counterfactuals import Foil
from vxp.report.timeline import Timeline
from vxp.report.words import names
from vxp.runs import result

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class System:
    """One result with its per-item scores, curves and the folder of its maps."""

    name: str
    document: typed.Result
    values: Mapping[str, Floats]
    curves: Mapping[str, tuple[Floats, Floats]]
    items: Sequence[str]
    clusters: Sequence[str]
    set_folder: Path
    kept: Mapping[str, stats.Kept]

    @property
    def reference(self) -> bool:
        return bool(self.document["explainer"]["reference"])

    @property
    def sequential(self) -> bool:
        """Whether its run stopped when a question was decided (7.5)."""
        return "sequential" in self.document

    @property
    def scores(self) -> dict[str, typed.ResultScore]:
        return {s["signature"]: s for s in self.document["scores"]}

    @cached_property
    def _set(self) -> tuple[store.Maps, list[str]]:
        document = store.read_document(self.set_folder / "set.json", typed.Set)
        items = store.read_described_table(self.set_folder, document["items"])
        return store.Maps(self.set_folder, document["shards"]), items["status"].to_pylist()

    @property
    def kind(self) -> str:
        """The kind of its explanations."""
        return str(store.read_document(self.set_folder / "set.json", typed.Set)["kind"])

    def map(self, row: int) -> tuple[NDArray[np.float32], str]:
        """The map [h, w] of an item, and its status: a map that could not be made is stored as zeros."""
        maps, status = self._set
        values: NDArray[np.float32] = maps.rows(row, row + 1)[0].numpy()
        return values, status[row]

    def segments(self, row: int) -> list[list[int]]:
        """The parts of a video that its scores are of, as half-open ranges of frames."""
        return self._set[0].segments(row)


@dataclass(frozen=True, eq=False)
class Picture:
    """An input of the gallery: an image, the frames of a clip side by side with those in which there is truth, or a video with
    pictures of its shots side by side, where there are pictures. foil: of an image what its counterfactuals are to reach.
    concepts: the names of those that explanations are scores of."""

    item_id: str
    row: int
    target_name: str
    png: bytes
    frames: int = 0
    truth_frames: tuple[int, ...] = ()
    timeline: Timeline | None = None
    foil: Foil | None = None
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder: its systems, references first, its settings and its gallery."""

    folder: Path
    document: typed.Run
    environment: typed.Environment
    systems: tuple[System, ...]
    gallery: tuple[Picture, ...]


def read(folder: Path) -> Run:
    """Everything a report needs; VxpError names what is missing or damaged."""
    paths = sorted(folder.glob("results/*/result.json"))
    if not paths:
        raise VxpError(f"{folder} holds no results: expected results/*/result.json, as vxp run and vxp score write them")
    run = store.read_document(folder / "run.json", typed.Run)
    systems = [_system(folder, path) for path in paths]
    _of_same_items(paths, systems)
    for path, system in zip(paths, systems, strict=True):
        for what in ("task", "model"):
            if system.document[what] != run[what]:
                raise VxpError(f"{path} is of {what} {system.document[what]}, and the run of {run[what]}: move it elsewhere")
        absent = set(run["metrics"]) - set(system.values)
        if absent:
            raise VxpError(f"{path} has no score {sorted(absent)[0]!r}, which the run has: run the same command again")
    order = [m["id"] for m in run["explainers"]]
    systems.sort(key=lambda s: (not s.reference, order.index(s.document["explainer"]["id"])
                                if s.document["explainer"]["id"] in order else len(order), s.document["result_id"]))
    described = systems[-1].document["environment"]
    store.read_described(folder, described)
    environment = store.read_document(folder / described["path"], typed.Environment)
    labels = names([s.document["explainer"] for s in systems])
    named = tuple(replace(s, name=label) for s, label in zip(systems, labels, strict=True))
    return Run(folder, run, environment, named, _gallery(folder, len(systems[0].items)))


def _of_same_items(paths: Sequence[Path], systems: Sequence[System]) -> None:
    """Paired tests and the gallery take row i of every result for the same item."""
    for path, system in zip(paths, systems, strict=True):
        if system.items != systems[0].items:
            raise VxpError(f"{path} has other items ({len(system.items)}) than {paths[0]} ({len(systems[0].items)}): expected "
                           "the results of one run in a folder; move the others to a folder of their own")


def _system(folder: Path, path: Path) -> System:
    document = store.read_document(path, typed.Result)
    table = store.read_described_table(folder, document["samples"])
    missing = [s["signature"] for s in document["scores"] if s["signature"] not in table.column_names]
    if missing:
        raise VxpError(f"{path.parent / 'samples.parquet'} has no column {missing[0]!r}, which {path.name} summarises")
    values = {s["signature"]: np.array([np.nan if v is None else v for v in table[s["signature"]].to_pylist()], float)
              for s in document["scores"]}
    curves = {}
    if "curves" in document:
        stored = safetensors.numpy.load(store.read_described(folder, document["curves"]))
        curves = {k: (stored[f"{k}#x"].astype(float), v.astype(float)) for k, v in stored.items() if not k.endswith("#x")}
    store.read_described(folder, document["set"])
    kept = result.read_kept(partial(store.read_described, folder), document,
                            {signature: table[f"{signature}#status"].to_pylist() for signature in values})
    return System(document["explainer"]["id"], document, values, curves, table["item_id"].to_pylist(),
                  table["cluster"].to_pylist(), (folder / document["set"]["path"]).parent, kept)


def _gallery(folder: Path, items: int) -> tuple[Picture, ...]:
    index = folder / "gallery" / "index.json"
    if not index.exists():
        return ()
    try:
        foils = counterfactuals.read(index.parent)
        found = tuple(Picture(e["item_id"], e["row"], e["target_name"],
                              (index.parent / Path(e["file"]).name).read_bytes() if "file" in e else b"",
                              int(e.get("frames", 0)), tuple(e.get("truth_frames", ())),
                              Timeline.read(e["timeline"]) if "timeline" in e else None, foils.get(e["row"]),
                              tuple(str(name) for name in e.get("concepts", ())))
                      for e in json.loads(index.read_text()) if 0 <= e["row"] < items)
        for picture in found:
            if picture.png:
                Image.open(io.BytesIO(picture.png)).verify()
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise VxpError(f"{index.parent} is damaged ({type(error).__name__}: {error}): delete that folder and run the same "
                       "command again, which writes it anew") from error
    return found
