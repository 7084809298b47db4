"""Tasks: a card of the registry with its items, or one's own images (open)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict

import torch
import vxp_schemas
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from vxp_schemas import typed

from vxp import datasets, division, documents, stats
from vxp.catalogue import nearest
from vxp.core import Bank, Batch, Normalization, VxpError
from vxp.documents import Taken, referred, store, undated
from vxp.kinds import CONCEPTS, COUNTERFACTUAL, KINDS, Kind
from vxp.kinds.rules import RULES
from vxp.models import Model


@dataclass(frozen=True, eq=False)
class Loaded:
    """Items as the model takes them, on the CPU, before it is settled which class of each is explained.

    inputs [B, C, *space] float; timelines are of videos; frozen is the class that the task gives an item, None where it is the
    one that the model predicts; labels are those that count as correct, () where they are not known; places are parts in space;
    the rest is as in a `Batch`.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    frozen: tuple[int | None, ...]
    normalization: Normalization
    seed: int
    truth: Mapping[str, Tensor]
    clusters: tuple[str, ...]
    timelines: tuple[datasets.Timeline, ...] = ()
    labels: tuple[tuple[int, ...], ...] = ()
    places: Mapping[str, Tensor] = field(default_factory=dict)
    foils: Tensor | None = None
    bank: Bank | None = None
    named: tuple[str, ...] = ()

    def targets(self, predictions: Tensor) -> Tensor:
        """The class to explain per item, int64 [B] on the CPU: the task's own, else the prediction."""
        chosen = [said if own is None else own for own, said in zip(self.frozen, predictions.tolist(), strict=True)]
        return torch.tensor(chosen, dtype=torch.int64)

    def batch(self, targets: Tensor) -> Batch:
        """The items, these classes of which are explained."""
        correct = [torch.tensor(some, dtype=torch.int64) for some in self.labels]
        labels = pad_sequence(correct, batch_first=True, padding_value=-1) if any(self.labels) else None
        return Batch(self.ids, self.inputs, targets, self.normalization, self.seed, self.truth, self.clusters, self.parts(),
                     labels, self.segments(), self.foils, self.bank, self.named, self.rates())

    def segments(self) -> Tensor | None:
        """The fragments of videos as ranges of frames, int64 [B, K, 2]; None where there is no list of them, and where they are
        not as many each."""
        found = [torch.tensor(timeline.fragments, dtype=torch.int64) for timeline in self.timelines]
        return torch.stack(found) if found and len({one.shape for one in found}) == 1 else None

    def rates(self) -> Tensor | None:
        """The frames per second of videos, float64 [B], NaN where they are not known; None where there are no videos."""
        found = [math.nan if timeline.fps is None else float(timeline.fps) for timeline in self.timelines]
        return torch.tensor(found, dtype=torch.float64) if found else None

    def parts(self) -> dict[str, Tensor]:
        """int64 [B, steps] by unit: the part that every step of a video belongs to; or [B, P], every position."""
        found = [timeline.parts() for timeline in self.timelines]
        return {unit: torch.stack([of[unit] for of in found]) for unit in (found[0] if found else ())} | dict(self.places)


@dataclass(frozen=True, eq=False)
class Task:
    """What is scored: items in canonical order, where their images come from, the model and the metrics. largest_cluster: of
    items in drawn order (7.5.3) how many the largest cluster of the whole task has."""

    document: typed.Task
    items: tuple[datasets.Item, ...]
    source: datasets.Source
    model: str
    selection: division.Selection | None = None
    largest_cluster: int | None = None

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def name(self) -> str:
        return f"{self.id}@{self.document['version']}"

    @property
    def reference(self) -> typed.Ref:
        """id, version and digest; the digest covers every item, so a limited run is not the task."""
        return referred(self.document, self.taken)

    @property
    def grows(self) -> typed.Ref:
        """The same of a run whose items become more: it names the order that they come in, and not how many there are."""
        whole = referred(self.document)
        return self.reference if self.largest_cluster is None else {
            **whole, "digest": vxp_schemas.digest([whole["digest"], "sequential"])}

    @property
    def dataset(self) -> typed.Ref:
        return self.document["dataset"]

    @property
    def limit(self) -> int | None:
        """How many items were taken of the task; None for all."""
        return None if self.selection is None else self.selection.items

    @property
    def taken(self) -> Taken | None:
        """What was taken of the task; None for all."""
        return None if self.selection is None else Taken(self.selection.items, self.largest_cluster is not None)

    @property
    def cluster_key(self) -> str:
        return str(self.document["cluster_key"])

    @property
    def seed(self) -> int:
        return int(self.document["seed"])

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What explanations of its items are; VxpError for a card that admits none of the kinds that there are here."""
        known = tuple(KINDS[kind] for kind in self.document["kinds"] if kind in KINDS)
        if not known:
            admitted = ", ".join(self.document["kinds"])
            raise VxpError(f"task {self.name} admits explanations of the kind {admitted}, and here are {', '.join(KINDS)}: "
                           "choose another task, or a newer vxp")
        return known

    @property
    def divided(self) -> bool:
        """Whether explanations are scores of the parts of videos."""
        return any(kind.ragged for kind in self.kinds)

    def admits(self, kind: str) -> None:
        """VxpError unless the card admits this kind of explanation."""
        if kind not in self.document["kinds"]:
            raise VxpError(f"task {self.name} admits explanations of the kind {', '.join(self.document['kinds'])}, got {kind}: "
                           "choose a task for this kind")

    @property
    def inference(self) -> stats.Inference:
        return stats.Inference.of(self.document["statistics"])

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.document["metrics"])

    @property
    def truth(self) -> tuple[str, ...]:
        return tuple(self.document["truth"])

    @property
    def budget(self) -> typed.TaskBudget:
        return self.document["budget"]

    def limited(self, limit: int | None) -> Task:
        """So many items, of every cluster in turn; such a run is not the task, and its results say so."""
        return self if limit is None or limit >= len(self.items) else self.only(Taken(limit))

    def only(self, taken: Taken | None) -> Task:
        """What was taken of the task."""
        if taken is None:
            return self
        clusters = [item.cluster for item in self.items]
        places = division.places(clusters, taken, self.seed)
        return replace(self, items=tuple(self.items[i] for i in places), selection=division.selection(clusters, places),
                       largest_cluster=max(Counter(clusters).values()) if taken.drawn else None)

    @property
    def drawn(self) -> Task:
        """All items in drawn order (7.5.3), for a run that may stop."""
        return self.only(Taken(len(self.items), drawn=True))

    def first(self, clusters: int) -> Task:
        """Of items in drawn order those of the first clusters; VxpError for items in another one."""
        if self.selection is None or self.largest_cluster is None:
            raise VxpError(f"task {self.name} is in its own order, and clusters are taken in drawn order: task.drawn")
        names = list(dict.fromkeys(item.cluster for item in self.items))[:clusters]
        n = max(i for i, item in enumerate(self.items) if item.cluster == names[-1]) + 1
        return replace(self, items=self.items[:n],
                       selection=replace(self.selection, items=n, clusters=len(names)))

    def runs_alike(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The items start..stop in ranges of items of one size, which go through a model together."""
        size = self.source.alike
        if size is None:
            return [(start, stop)] if start < stop else []
        found = []
        for _, same in groupby(range(start, stop), lambda i: size(self.items[i])):
            places = list(same)
            found.append((places[0], places[-1] + 1))
        return found

    def batch(self, start: int, stop: int, model: Model) -> Batch:
        """Items start..stop as the model takes them, on the CPU, with the task's own targets.

        VxpError where an item has none: `load` them, predict, and make the batch with the `targets` of the predictions.
        """
        loaded = self.load(start, stop, model)
        missing = [id for id, target in zip(loaded.ids, loaded.frozen, strict=True) if target is None]
        if missing:
            raise VxpError(f"task {self.name}: got no target for {', '.join(missing[:5])}, expected one for every item; the "
                           "model's predictions stand in for them: task.load(...), then its targets(predictions)")
        return loaded.batch(torch.tensor(loaded.frozen, dtype=torch.int64))

    def load(self, start: int, stop: int, model: Model) -> Loaded:
        """Items start..stop as the model takes them, whether or not the task says which class of each is explained."""
        items = self.items[start:stop]
        samples = [_seen(self.source.load(item), model) for item in items]
        raw = torch.stack([sample.image for sample in samples])
        raw = raw if raw.is_floating_point() else raw.float() / 255
        return Loaded(
            ids=tuple(item.id for item in items),
            inputs=model.normalization.to_inputs(raw, raw.ndim - 2),
            timelines=tuple(sample.timeline for sample in samples if sample.timeline is not None),
            frozen=tuple(item.target for item in items),
            normalization=model.normalization,
            seed=self.seed,
            # boxes are padded with empty ones, which are no boxes
            truth={key: pad_sequence([s.truth[key] for s in samples], batch_first=True) for key in self.truth},
            clusters=tuple(item.cluster for item in items),
            labels=tuple(tuple(item.label) for item in items),
            places={unit: torch.stack([sample.parts[unit].flatten() for sample in samples]) for unit in samples[0].parts},
            foils=_foils(items),
            bank=self.bank(model),
            named=tuple(self.document.get("concepts", ())),
        )

    def bank(self, model: Model) -> Bank | None:
        """Examples of the data set's concepts as the model takes them; None where explanations are not made of any. VxpError
        where they are of concepts by name and the card names others."""
        if self.source.examples is None or not {CONCEPTS.id, COUNTERFACTUAL.id, RULES.id} & set(self.document["kinds"]):
            return None
        found = as_inputs(self.source.examples(), model.normalization)
        if {CONCEPTS.id, RULES.id} & set(self.document["kinds"]) and found.names != tuple(self.document.get("concepts", ())):
            raise VxpError(f"task {self.name} names the concepts {', '.join(self.document.get('concepts', ())) or 'none'}, and "
                           f"data set {self.source.id} has examples of {', '.join(found.names)}: expected the same")
        return found


def _foils(items: Sequence[datasets.Item]) -> Tensor | None:
    found = [item.foil for item in items if item.foil is not None]
    return torch.tensor(found, dtype=torch.int64) if found and len(found) == len(items) else None


@lru_cache(maxsize=1)
def as_inputs(examples: datasets.Examples, normalization: Normalization) -> Bank:
    """Examples of concepts as the model takes them; those of the last call are kept."""
    on, off = (normalization.to_inputs(images.float() / 255) for images in (examples.on, examples.off))
    return Bank(examples.names, on, off, examples.paired, examples.values, examples.labels)


def _seen(sample: datasets.Sample, model: Model) -> datasets.Sample:
    """The sample as the model takes it: of a video the features of its frames, where the model is one of sequences."""
    made = {2: "sequence", 3: "image", 4: "clip"}[sample.image.ndim]
    if made == "clip" and model.sees is not None and sample.timeline is not None:
        features, picks = model.sees(sample.image)
        return replace(sample, image=features, timeline=replace(sample.timeline, picks=picks))
    if made != model.medium and ("sequence" in (made, model.medium) or sample.timeline is not None):
        raise VxpError(f"model {model.id} takes {model.medium}s, and the items are {made}s: choose another model (vxp list "
                       "models)")
    return sample


def names() -> list[str]:
    return sorted(vxp_schemas.registry("tasks"))


def load(name: str, *, model: str | None = None, data: Path | None = None) -> Task:
    """A registered task by `id` or `id@version`; VxpError for an unknown name or absent data, saying what to do."""
    known = vxp_schemas.registry("tasks")
    try:
        document = vxp_schemas.registry_document("tasks", name)
    except vxp_schemas.UnknownName:
        raise VxpError(f"no task is called {name!r}{nearest(name, [*known, *(k.split('@')[0] for k in known)])}; "
                       "`vxp list tasks` shows all; your own images go through --images, clips through --clips") from None
    source = datasets.source(document["dataset"]["id"])
    if data is not None:
        source = datasets.at(source, data)
    absent = source.missing()
    if absent:
        raise VxpError(f"task {name}: {absent}")
    described = document.get("items")
    if described is None:
        items = datasets.own_items(document, source)
    else:
        raw = vxp_schemas.registry_bytes(described["path"])
        if store.digest(raw) != described["digest"]:
            raise VxpError(f"task {name}: its list of items has {store.digest(raw)}, expected {described['digest']} as its "
                           "card says: install vxp again")
        items = [datasets.Item(i["item_id"], i["cluster"], i["recipe"], i["target"], tuple(i["label"]))
                 for i in json.loads(raw)]
    default = vxp_schemas.registry_document("models", document["model"]["id"]).get("load_name", document["model"]["id"])
    return Task(document, tuple(items), source, model or default)


def opened(
    images: Path, model: Model, *, seed: int = 0, metrics: Sequence[str] = (), concepts: Path | None = None
) -> Task:
    """An unregistered task of one's own images: a folder, a manifest, or ID:DIR, the user's copy of a data set.

    Targets are the model's predictions where the items have none. concepts: a folder of examples of concepts, of which
    explanations are then scores. VxpError for a model of clips with it.
    """
    items, source = datasets.opened(images, model.image_size, model.class_names)
    kind = {"own-images": "folder", "manifest": "manifest"}.get(source.id)
    name = _slug(images, "images") if kind else source.id
    wanted = [*OPEN_METRICS, *(LOCALISATION if source.truth else ()), *(BOXES if "boxes" in source.truth else ())]
    grouped = kind == "manifest" and any(item.cluster != item.id for item in items)
    facts: Facts = {
        "id": f"{documents.OPEN}{name}"[:54].rstrip("-"), "dataset": f"{kind or 'own'}-{name}"[:54].rstrip("-"),
        "kinds": ["heatmap2d"], "metrics": list(metrics) or wanted, "cluster_key": "cluster" if grouped else "image"}
    if concepts is not None:
        source = datasets.with_concepts(source, concepts, model.image_size)
        facts |= {"kinds": ["concepts"], "metrics": list(metrics) or [*CONCEPT_METRICS]}
    return _own(model, items, source, seed, facts)


def opened_clips(clips: Path, model: Model, *, seed: int = 0, metrics: Sequence[str] = ()) -> Task:
    """An unregistered task of one's own clips: a folder, or a manifest. VxpError for a model of images."""
    if len(model.input_size) != 3:
        raise VxpError(f"model {model.id} takes images, and --clips are clips: make a model of clips of it (models.of_clips)")
    items, source = datasets.own_clips.opened(clips, model.input_size, model.class_names)
    name = _slug(clips, "clips")
    grouped = any(item.cluster != item.id for item in items)
    return _own(model, items, source, seed, {
        "id": f"{documents.OPEN_CLIPS}{name}"[:54].rstrip("-"), "dataset": f"clips-{name}"[:54].rstrip("-"),
        "kinds": ["heatmap3d"], "metrics": list(metrics) or [*CLIP_METRICS, *(CLIP_TRUTH if source.truth else ())],
        "cluster_key": "cluster" if grouped else "clip"})


def opened_features(features: Path, model: Model, *, seed: int = 0, metrics: Sequence[str] = ()) -> Task:
    """An unregistered task of features of one's own videos, in a file. VxpError for a model that takes no features, or
    others."""
    items, source = datasets.h5_features.opened(features)
    if model.medium != "sequence":
        raise VxpError(f"model {model.id} takes {model.medium}s, and --features are features of videos: give a model of "
                       "features, a factory that returns (module, {'output': 'sequence', 'features': D})")
    got, expected = source.load(items[0]).image.shape[0], model.input_size[1]
    if got != expected:
        raise VxpError(f"{features}: got {got} features per step, and model {model.id} takes {expected}: give the features "
                       "that it was trained on")
    name = _slug(features.with_suffix(""), "features")
    return _own(model, items, source, seed, {
        "id": f"{documents.OPEN_FEATURES}{name}"[:54].rstrip("-"), "dataset": f"features-{name}"[:54].rstrip("-"),
        "kinds": ["temporal"], "metrics": list(metrics) or [*FRAGMENT_METRICS, *(SUMMARIES if source.truth else ())],
        "cluster_key": "video"})


def _slug(place: Path, otherwise: str) -> str:
    return re.sub("[^a-z0-9]+", "-", place.resolve().name.lower()).strip("-") or otherwise


class Facts(TypedDict):
    """What differs between tasks of one's own images, clips and features."""

    id: str
    dataset: str
    kinds: list[typed.ExplanationKind]
    metrics: list[str]
    cluster_key: str


def _own(model: Model, items: Sequence[datasets.Item], source: datasets.Source, seed: int, facts: Facts) -> Task:
    """The unregistered task of these items; facts are what differs between media: id, dataset's id, kinds, metrics, cluster."""
    examples = None if source.examples is None else source.examples()
    content = vxp_schemas.digest([*({"id": item.id, "recipe": dict(item.recipe)} for item in items),
                                  *([] if examples is None else [examples.content])])
    truth: list[Any] = list(source.truth)  # in words of the data set, which are checked below
    document: typed.Task = undated(typed.Task) | {
        "id": facts["id"], "version": 1, "title": source.about,
        "status": "unregistered",
        "dataset": {"id": facts["dataset"], "version": 1, "digest": content},
        "model": vxp_schemas.reference(model.document), "input_size": list(model.input_size),
        "targets": ("list" if any(item.target is not None for item in items)
                    else "none" if model.document.get("output") == "sequence" else "predicted"),
        "truth": truth, "kinds": facts["kinds"], "metrics": facts["metrics"],
        "primary_family": "faithfulness", "cluster_key": facts["cluster_key"], "seed": seed,
        "budget": {"items": max(len(items), 1), "max_passes_per_map": 200},
        "statistics": {"method": "bootstrap-t", "level": 0.95, "resamples": 10_000},
    }
    if examples is not None:
        document["concepts"] = list(examples.names)
    vxp_schemas.validate(document)
    return Task(document, tuple(items), source, model.id)


OPEN_METRICS = (
    "deletion|steps:28", "insertion|steps:28", "srg|steps:28",
    *(f"{metric}|keep:{keep}" for metric in ("average-drop", "increase-in-confidence", "average-gain")
      for keep in (100, 50, 15)),
    "road-morf", "road-lerf", "efficient-mprt", "random-logit", "max-sensitivity|samples:4", "entropy", "gini",
)
"""The core metrics at the budgets of a small machine, for tasks without a card."""

CONCEPT_METRICS = ("concepts-named",)
"""Those of scores of concepts, where nothing is known of what the concepts cause."""

LOCALISATION = ("pointing-game", "energy-pointing-game", "relevance-rank")
"""What is added where there is truth."""

BOXES = ("max-box-acc-v2",)
"""What is added where there are boxes."""

FRAGMENT_METRICS = (
    "disc-plus-2022", "disc-minus-2022", "sv-2022", "disc-plus-2022|mode:batch", "disc-minus-2022|mode:batch",
    "sv-2022|mode:batch", "disc-plus-2024", "disc-minus-2024", "sv-2024", "sv-2024|mode:sequential",
    "rank-correlation|explanandum:rank-order", "rank-correlation|sign:absolute|explanandum:rank-order",
    "rank-correlation", "rank-correlation|sign:absolute", "fragment-deletion",
)
"""The same for videos of which fragments are scored."""

SUMMARIES = ("summary-f1", "summary-f1|users:max")
"""What is added for videos with summaries of people."""

CLIP_METRICS = (
    "st-deletion|steps:28", "st-insertion|steps:28", "st-srg|steps:28", "tube-deletion|steps:28", "frame-deletion",
    "frame-insertion", "max-sensitivity|samples:4", "entropy", "gini",
)
"""The same for clips."""

CLIP_TRUTH = (
    "mask-auc", "mask-average-precision", "relevance-rank", "energy-pointing-game", "iou-at-area|area:truth", "st-pointing",
    "frame-pointing", "t-pointing", "t-energy", "t-iou", "t-auc",
)
"""What is added for clips with truth, in space and in time."""
