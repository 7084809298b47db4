"""Task x explainers -> explanation sets -> results, in units of work that survive a kill.

A unit is (stage, explainer, range of items) and a pure function of its inputs. Its file is written whole and never done
again, so the same command goes on where it was stopped, loses at most the unit under way, and ends with the same bytes
of scores. What depends on the item and the fill only is a unit of its own that all explainers read.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch
import vxp_schemas
from PIL import Image
from torch import Tensor

from vxp import division, doubts, explainers, models, result, store
from vxp.core import OK, Batch, Case, Edit, Filled, Outcome, Unchanged, VxpError
from vxp.datasets import Sample
from vxp.engine import READOUTS, Engine, Job, Precision, Tally, best_batch_size, failed, without_numbers
from vxp.explainers import BoundExplainer
from vxp.explaining import attempted, on_one_grid
from vxp.kinds import KINDS, Map
from vxp.machine import computing
from vxp.metrics import Bound, bind_all
from vxp.models import Model
from vxp.tasks import Task

log = logging.getLogger("vxp")

UNIT = 8
"""Items of a unit of work: small enough to lose, large enough to fill a model batch."""
UNITS = ".units"
"""The folder of finished units in that of a run."""
BROKEN = "failed:model-non-finite"
"""The status of an item of which the model's output for the unchanged input is not finite."""
GALLERY = 8
"""Input images kept for the report."""


class Progress(Protocol):
    """What long work reports: a stage with its number of items, items done, and model rows done."""

    def stage(self, title: str, items: int) -> None: ...
    def items(self, n: int) -> None: ...
    def rows(self, n: int) -> None: ...


class Quiet:
    """Progress that is not shown."""

    def stage(self, title: str, items: int) -> None:
        return

    def items(self, n: int) -> None:
        return

    def rows(self, n: int) -> None:
        return


@dataclass(frozen=True)
class Settings:
    """How a run computes. Chosen once, stored with the run and used again by resume."""

    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 16
    threads: int = 1
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """What every stage of a run needs."""

    task: Task
    model: Model
    metrics: tuple[Bound, ...]
    settings: Settings
    out: Path
    progress: Progress

    @property
    def settings_document(self) -> dict[str, Any]:
        own = dataclasses.asdict(self.settings)
        # batches of one size, one thread count and no benchmark of kernels: equal bytes on equal machines
        return own | {"deterministic": True, "seed": self.task.seed, "limit": self.task.limit}

    @property
    def division(self) -> str:
        """`closed` where nothing stands against it (clause 12.2.2)."""
        against = division.reasons(
            task=self.task.reference, model=vxp_schemas.reference(self.model.document), limit=self.task.limit,
            signatures=[b.signature for b in self.metrics])
        return "open" if any(against) else "closed"

    @property
    def units(self) -> store.Units:
        return store.Units(self.out / UNITS)

    def ranges(self) -> Iterator[tuple[int, int]]:
        n = len(self.task.items)
        return ((start, min(start + UNIT, n)) for start in range(0, n, UNIT))

    @cached_property
    def engine(self) -> Engine:
        """One engine for the run: a randomised copy of the model is made once."""
        twin = models.relabelled(self.model.id)
        return Engine(self.model.module, self.settings.batch_size, self.settings.precision, self.progress.rows,
                      relabelled=None if twin is None else twin.to(self.settings.device))

    def batch(self, start: int, stop: int, targets: Tensor) -> Batch:
        """Items start..stop, with these classes to explain, on the device of the run."""
        return self.task.load(start, stop, self.model).batch(targets).to(self.settings.device)


# ------------------------------------------------------------------------------------------------------------ the runs


def run(
    task: Task, model: Model, wanted: Sequence[BoundExplainer], out: Path, *, settings: Settings,
    metrics: Sequence[str] = (), given: Path | None = None, progress: Progress | None = None,
) -> list[Path]:
    """Explain and score: one result per explainer, the references included; returns the result documents' paths.

    given: an explanation set made before (by `explain_set`), scored beside the references instead of explaining.
    """
    task = task.limited(settings.limit)
    context = Context(task, model, _metrics(task, metrics), settings, out, progress or Quiet())
    systems = _with_references(task, ready(task, model, wanted))
    carried = None
    if given is not None:
        carried = read_set(given, task, model, wanted[0] if wanted else None)
        systems = [*_with_references(task, ()), carried.bound]
    with claimed(settings, out, run_document(context, systems, carried)):
        # what the results refer to by digest; nobody else has the documents of an unregistered task or model
        store.write_document(out / "task.json", task.document)
        store.write_document(out / "model.json", model.document)
        baselines = baselines_of(context)
        _gallery(context, baselines)
        written = []
        for bound in systems:
            if carried is not None and bound is carried.bound and given is not None:
                folder = out / "explanations" / carried.set_id
                _copied(given, folder)
            else:
                folder = out / "explanations" / set_id(context, bound)
                if not (folder / "set.json").exists():
                    _explain(context, bound, baselines, folder)
            store.write_document(out / "systems" / f"{folder.name}.json", result.system(bound))
            written.append((bound, folder))
        scored = [_score(context, bound, folder, baselines) for bound, folder in written]
        least = min([*(b.batch_size for b in baselines.values()), *(s.batch_size for s in scored)])
        ran = {"batch_size_run": least} if least < settings.batch_size else {}
        return result.write(out, task, model, context.settings_document | ran, scored, _flags(task), division=context.division)


def explain_set(
    task: Task, model: Model, bound: BoundExplainer, out: Path, *, settings: Settings, progress: Progress | None = None,
) -> Path:
    """Write one explanation set: set.json, items.parquet, payload/, system.json."""
    task = task.limited(settings.limit)
    (bound,) = ready(task, model, [bound])
    context = Context(task, model, (), settings, out, progress or Quiet())
    with claimed(settings, out, run_document(context, [bound], None)):
        if not (out / "set.json").exists():
            _explain(context, bound, baselines_of(context), out)
        store.write_document(out / "system.json", result.system(bound))
    return out / "set.json"


def choose_settings(
    task: Task, model: Model, out: Path, *, device: str, precision: Precision, batch_size: int | None,
    threads: int | None, limit: int | None,
) -> Settings:
    """The settings of a run: those stored in `out` where a run is there, else as given, with the best batch size."""
    stored = out / "run.json"
    if stored.exists():
        settings = store.read_document(stored)["settings"]
        batch_size = batch_size or int(settings["batch_size"])
        threads = threads or int(settings["threads"])
    threads = threads or os.cpu_count() or 1
    if batch_size is None:
        first = task.load(0, 1, model).inputs.to(device)
        with computing(threads):
            batch_size = best_batch_size(model.module, first, limit=1024 if device == "cuda" else 64)
        log.info("batch size %d gives the best throughput on %s", batch_size, device)
    return Settings(device, precision, batch_size, threads, limit)


def _metrics(task: Task, asked: Sequence[str]) -> tuple[Bound, ...]:
    wanted = bind_all(list(asked) or list(task.metrics))
    lacking = [b.metric.id for b in wanted if b.metric.truth and not set(b.metric.truth) & set(task.truth)]
    if lacking:
        raise VxpError(f"task {task.name} has {'the truth ' + ', '.join(task.truth) if task.truth else 'no truth'}, and "
                       f"{', '.join(lacking)} need another: leave them out of --metrics")
    return wanted


def ready(task: Task, model: Model, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The explainers for this model at the task's budget; VxpError where one cannot explain it."""
    return [_at_budget(task, bound.on(task.kind).resolved(model.module)) for bound in wanted]


def _with_references(task: Task, wanted: Sequence[BoundExplainer]) -> list[BoundExplainer]:
    """The references that the task admits, then what was asked for, each once."""
    known = explainers.catalogue()
    names = [n for n in explainers.references(task.truth, task.kind.id) if n in known]
    unique: dict[str, BoundExplainer] = {}
    for bound in [*(explainers.bind(n).on(task.kind) for n in names), *wanted]:
        if "truth" in bound.explainer.needs and not task.truth:
            raise VxpError(f"explainer {bound.id!r} needs truth, and task {task.name} has none: leave it out")
        if bound.id in explainers.REFERENCES and not bound.explainer.reference:
            raise VxpError(f"an explainer is called {bound.id!r}, which is the name of a reference that stands beside every "
                           "result: give yours another name")
        unique.setdefault(bound.name, bound)
    return list(unique.values())


def _at_budget(task: Task, bound: BoundExplainer) -> BoundExplainer:
    """Parameters that the task's card fixes (such as RISE's number of masks), unless they were set by name."""
    fixed = task.budget.get("explainers", {}).get(bound.id, {})
    untouched = {k: v for k, v in fixed.items() if bound.parameters[k] == bound.explainer.parameters[k]}
    return dataclasses.replace(bound, parameters=dict(bound.parameters) | untouched)


def _flags(task: Task) -> list[str]:
    return [] if task.limit is None else ["limited"]


def run_document(context: Context, systems: Sequence[BoundExplainer], carried: CarriedSet | None) -> dict[str, Any]:
    return result.header("run") | {
        "division": context.division, "task": context.task.reference, "dataset": context.task.dataset,
        "model": dict(vxp_schemas.reference(context.model.document)),
        "explainers": [result.method(b) for b in systems], "metrics": [b.signature for b in context.metrics],
        "settings": context.settings_document, **result.selection(context.task),
        **({} if carried is None else {"set": carried.digest}),
    }


@contextmanager
def claimed(settings: Settings, out: Path, document: dict[str, Any]) -> Iterator[None]:
    """Claims the output folder for this run before any work, alone, and computes with its threads."""
    stored = out / "run.json"
    if not stored.exists() and out.exists() and any(p.name != UNITS for p in out.iterdir()):
        raise VxpError(f"--out {out} is not empty and holds no VXP run: got {sorted(os.listdir(out))[:3]}; "
                       "expected a new or empty folder, or one of the same run to go on with")
    with store.alone(out / UNITS / "lock"), computing(settings.threads):
        if not stored.exists():
            store.write_document(stored, document)
        there = store.read_document(stored)
        _same_run(stored, there, document)
        if there["explainers"] != document["explainers"]:
            store.write_document(stored, document)
        yield


def _same_run(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """VxpError unless what is wanted is the run that is there, or that run with more explainers."""
    fixed = [k for k in wanted if k not in ("created", "generator", "explainers")]
    differs = [f"{k}: {there.get(k)!r} there, {wanted[k]!r} asked" for k in fixed if there.get(k) != wanted[k]]
    left_out = [method for method in there["explainers"] if method not in wanted["explainers"]]
    if left_out:
        differs.append(f"explainers: {left_out!r} there and not asked")
    if differs:
        raise VxpError(f"{path.parent} holds another run ({'; '.join(differs)}). Choose another --out, or repeat the "
                       "command of that run, perhaps with more explainers, to go on with it")


# ---------------------------------------------------------------------------------------------------- stage: baselines


@dataclass(frozen=True, eq=False)
class Baseline:
    """Rows of a range that no explanation changes, and the targets that are frozen for everything after."""

    targets: Tensor
    predictions: Tensor
    rows: Mapping[Edit, Tensor]
    batch_size: int  # with which the rows were run

    @property
    def broken(self) -> list[bool]:
        """Per item whether the model's output for the unchanged input is not finite."""
        found: list[bool] = self.rows[Unchanged()][:, READOUTS.index("log-probability")].isnan().tolist()
        return found


def baselines_of(context: Context) -> dict[int, Baseline]:
    """The unchanged and the filled rows of every range of items, from its unit or computed."""
    # a metric of another kind is not run, and its fills may be none of this medium
    fills = sorted({fill for b in context.metrics if context.task.kind.id in b.metric.kinds for fill in b.fills})
    context.progress.stage("unperturbed outputs", len(context.task.items))
    found: dict[int, Baseline] = {}
    for start, stop in context.ranges():
        name = f"baseline/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            loaded = context.task.load(start, stop, context.model)
            engine, where = context.engine, context.settings.device
            logits = engine.predict_all(loaded.inputs.to(where))
            doubts.check_classes(logits.shape[1], f"model {context.model.id}")
            if not found:  # once a run, by its first items
                for words in doubts.of_outputs(logits):
                    log.warning("model %s: %s", context.model.id, words)
            predictions = models.predicted(logits).cpu()
            targets = loaded.targets(predictions)
            if int(targets.max()) >= logits.shape[1]:
                raise VxpError(f"task {context.task.name} explains class {int(targets.max())}, and model "
                               f"{context.model.id} has {logits.shape[1]} classes: choose the task's own model")
            rows = engine.baseline(loaded.batch(targets).to(where), fills)
            tensors = {"targets": targets, "predictions": predictions, "Unchanged": rows[Unchanged()]}
            tensors |= {f"Filled:{e.fill}": v for e, v in rows.items() if isinstance(e, Filled)}
            unit = tensors, {"batch_size": engine.batch_size}
            context.units.save(name, *unit)
        kept = {_edit(k): v for k, v in unit[0].items() if k not in ("targets", "predictions")}
        found[start] = Baseline(unit[0]["targets"], unit[0]["predictions"], kept, unit[1]["batch_size"])
        context.progress.items(stop - start)
    _check_finite(context, found)
    return found


def _check_finite(context: Context, baselines: Mapping[int, Baseline]) -> None:
    """Name the items of which the model's output is not finite; VxpError where these are all."""
    items = context.task.items
    bad = [items[start + i].id for start, found in baselines.items() for i, broken in enumerate(found.broken) if broken]
    if len(bad) == len(items):
        raise VxpError(f"model {context.model.id} returned NaN or infinite logits for all {len(items)} items, expected finite "
                       "logits on the task's own images: check its weights and normalization")
    if bad:
        log.warning("model %s returned NaN or infinite logits for %d of %d items (%s): nothing is predicted of them, and their "
                    "explanations and scores are %s", context.model.id, len(bad), len(items),
                    ", ".join([*bad[:5], *(["..."] if len(bad) > 5 else [])]), BROKEN)


def _edit(name: str) -> Edit:
    return Unchanged() if name == "Unchanged" else Filled(name.partition(":")[2])


def _gallery(context: Context, baselines: Mapping[int, Baseline]) -> None:
    """A few input images as PNG, spread over the clusters, for the report."""
    index = context.out / "gallery" / "index.json"
    if index.exists():
        return
    seen: dict[str, list[int]] = {}
    for i, item in enumerate(context.task.items):
        seen.setdefault(item.cluster, []).append(i)
    depth = max(len(v) for v in seen.values())
    chosen = [v[d] for d in range(depth) for v in seen.values() if d < len(v)][:GALLERY]
    entries = []
    for number, i in enumerate(chosen):
        item = context.task.items[i]
        start = i // UNIT * UNIT
        target = int(baselines[start].targets[i - start])
        file, sample = f"{number:02d}.png", context.task.source.load(item)
        store.write_bytes(index.parent / file, _png(sample.image))
        entries.append({"item_id": item.id, "file": file, "row": i, "target": target,
                        "target_name": context.model.class_name(target), **_over_time(sample)})
    store.write_bytes(index, result.plain_json(entries))


def _over_time(sample: Sample) -> dict[str, list[int] | int]:
    """Of a clip how many frames it has, and in which of them there is truth."""
    if sample.image.ndim == 3:
        return {}
    mask = sample.truth.get("mask")
    there = [] if mask is None else torch.nonzero(mask.flatten(1).any(1)).flatten().tolist()
    return {"frames": sample.image.shape[1], "truth_frames": there}


def _png(image: Tensor) -> bytes:
    """An image uint8 [3, H, W], or the frames of a clip [3, T, H, W] side by side."""
    buffer = io.BytesIO()
    strip = image if image.ndim == 3 else image.transpose(1, 2).flatten(2)
    Image.fromarray(strip.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


# -------------------------------------------------------------------------------------------------- stage: explanations


def set_id(context: Context, bound: BoundExplainer) -> str:
    """Task, explainer and the first 8 hex digits of the digest of all that the set's maps depend on."""
    inputs = [context.task.reference, vxp_schemas.reference(context.model.document), result.system_digest(bound),
              context.settings.device, context.settings.precision]
    short = vxp_schemas.digest(inputs).removeprefix("sha256:")[:8]
    return f"{context.task.id}-{bound.id}"[:54] + f"-{short}"


def _explain(context: Context, bound: BoundExplainer, baselines: Mapping[int, Baseline], folder: Path) -> None:
    """Make all maps in units, then write the set: payload first, set.json last."""
    key = set_id(context, bound)
    context.progress.stage(f"explaining with {bound.name}", len(context.task.items))
    parts: list[tuple[Tensor, list[str]]] = []
    runtime: list[float] = []
    forward: list[int] = []
    backward: list[int] = []
    for start, stop in context.ranges():
        name = f"explain/{key}/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            batch = context.batch(start, stop, baselines[start].targets)
            began = time.perf_counter()
            with models.Passes(context.model.module) as passes, context.engine.arithmetic(batch.inputs.device):
                made, states = _made_where(bound, context.model, batch, baselines[start].broken)
            notes: dict[str, Any] = {"status": states, "seconds": time.perf_counter() - began, "forward": passes.forward,
                     "backward": passes.backward}
            context.progress.rows(passes.forward)
            context.units.save(name, {"values": made}, notes)
            unit = {"values": made}, notes
        n = stop - start
        parts.append((unit[0]["values"].cpu(), list(unit[1]["status"])))
        runtime += [unit[1]["seconds"] / n] * n
        forward += _shared(unit[1]["forward"], n)
        backward += _shared(unit[1]["backward"], n)
        context.progress.items(n)
    maps = on_one_grid(bound.id, [(maps, OK in states) for maps, states in parts], 0.0)
    status = [s for _, states in parts for s in states]
    write_set(context, bound, baselines, folder, maps, status, runtime, forward, backward)


def _made_where(
    bound: BoundExplainer, model: Model, batch: Batch, broken: Sequence[bool]
) -> tuple[Tensor, list[str]]:
    """Maps and statuses of a range; items of which the model's output is not finite are not explained."""
    good = [i for i, lost in enumerate(broken) if not lost]
    if len(good) == len(batch):
        return explained(bound, model, batch)
    if not good:
        return torch.zeros(len(batch), *batch.space), [BROKEN] * len(batch)
    made, states = explained(bound, model, batch.select(good))
    maps, status = made.new_zeros(len(batch), *made.shape[1:]), [BROKEN] * len(batch)
    maps[good] = made
    for i, state in zip(good, states, strict=True):
        status[i] = state
    return maps, status


def _shared(total: int, n: int) -> list[int]:
    """A count spread over n items as evenly as integers allow, so that the rows add up to the total."""
    return [total // n + (i < total % n) for i in range(n)]


def explained(bound: BoundExplainer, model: Model, batch: Batch) -> tuple[Tensor, list[str]]:
    """Maps and statuses of a range; zeros where there is no map."""
    maps, lost = attempted(bound, model.module, batch, bound.id)
    finite = torch.isfinite(maps).flatten(1).all(1)
    states = [lost.get(i, OK if good else "failed:non-finite-map") for i, good in enumerate(finite.tolist())]
    return torch.where(finite.view(-1, *[1] * (maps.ndim - 1)), maps, torch.zeros_like(maps)), states


def write_set(
    context: Context, bound: BoundExplainer, baselines: Mapping[int, Baseline], folder: Path, maps: Tensor,
    status: Sequence[str], runtime: Sequence[float], forward: Sequence[int], backward: Sequence[int],
) -> None:
    n = len(context.task.items)
    shards = store.write_maps(folder / "payload", folder, maps)
    rows_per_shard = shards[0]["rows"]
    ordered = [baselines[start] for start in sorted(baselines)]
    targets, predictions = torch.cat([b.targets for b in ordered]), torch.cat([b.predictions for b in ordered])
    top = torch.cat([b.rows[Unchanged()][:, READOUTS.index("log-probability")].exp() for b in ordered]).nan_to_num()
    store.write_table(folder / "items.parquet", {
        "row": pa.array(range(n), pa.int64()),
        "item_id": pa.array([item.id for item in context.task.items]),
        "cluster": pa.array([item.cluster for item in context.task.items]),
        "target": pa.array(targets.tolist(), pa.int32()),
        "target_source": pa.array(["predicted" if item.target is None else "list" for item in context.task.items]),
        "prediction": pa.array(predictions.tolist(), pa.int32()),
        "target_score": pa.array(top.tolist(), pa.float32()),
        "explanation_id": pa.array([f"{item.id}/0" for item in context.task.items]),
        "repeat": pa.array([0] * n, pa.int16()),
        "shard": pa.array([i // rows_per_shard for i in range(n)], pa.int32()),
        "shard_row": pa.array([i % rows_per_shard for i in range(n)], pa.int64()),
        "payload_digest": pa.array(store.row_digests(maps), pa.binary(32)),
        "runtime_ms": pa.array([1000 * s for s in runtime], pa.float32()),
        "n_forwards": pa.array(forward, pa.int32()),
        "n_backwards": pa.array(backward, pa.int32()),
        "status": pa.array(status),
    })
    store.write_document(folder / "set.json", result.explanation_set(
        set_id=set_id(context, bound), task=context.task, model=context.model, bound=bound, root=folder, shards=shards,
        status=status))


# -------------------------------------------------------------------------------------------------------- sets on disk


@dataclass(frozen=True, eq=False)
class CarriedSet:
    """An explanation set read from disk, with the explainer that made it."""

    bound: BoundExplainer
    set_id: str
    digest: str


def read_set(folder: Path, task: Task, model: Model, again: BoundExplainer | None = None) -> CarriedSet:
    """Check that a set belongs to this task and model; VxpError otherwise."""
    document = store.read_document(folder / "set.json")
    task.admits(document["kind"])
    for what, there, here, do in (
            # the card of a task of one's own names the model, so the model comes first
            ("model", document["model"], vxp_schemas.reference(model.document), "name the same with --model"),
            ("task", document["task"], task.reference, "name the same images, with the same --limit")):
        if there != here:
            was, now = (f"{r['id']}@{r['version']} ({r['digest'][:19]}...)" for r in (there, here))
            raise VxpError(f"set {folder} was made for the {what} {was}, and is to be scored as {now}: {do}")
    system = _system(folder, document)
    return CarriedSet(_declared(document["explainer"], again, system, KINDS[document["kind"]]), document["set_id"],
                      store.digest(store.read_file(folder / "set.json")))


def _system(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the system that made a set: beside it, or where a run or a bundle has it."""
    top = folder.resolve().parent.parent
    places = [folder / "system.json", top / "systems" / f"{document['set_id']}.json", top / "system.json"]
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        raise VxpError(f"set {folder} has no system.json, which says what made its maps: expected {places[0]}, as vxp explain "
                       "and vxp import write it")
    system = store.read_document(place)
    if result.identity(system) != document["system"]:
        raise VxpError(f"{place} is of another system than set {folder}: got {result.identity(system)}, expected "
                       f"{document['system']}")
    return system


def _declared(
    facts: Mapping[str, Any], again: BoundExplainer | None, system: Mapping[str, Any], kind: Map
) -> BoundExplainer:
    """The explainer of a set: the one given or installed if it is the same, else one that cannot explain again."""
    if again is None and facts["id"] in explainers.catalogue():
        again = explainers.bind(facts["id"], facts["parameters"])
    if again is not None:
        again = again.on(kind)
        if result.explainer(again) != dict(facts):
            raise VxpError(f"the set was made by {dict(facts)}, and the explainer here is {result.explainer(again)}: "
                           "give the same one, or none")
        return dataclasses.replace(again, system=system)
    return explainers.absent(facts, system)


def _copied(given: Path, folder: Path) -> None:
    """The set's files beside the result; set.json last, since its presence says that the set is whole."""
    if (folder / "set.json").exists() or given.resolve() == folder.resolve():
        return
    document = store.read_document(given / "set.json")
    for described in [document["items"], *(shard["descriptor"] for shard in document["shards"])]:
        store.write_bytes(folder / described["path"], store.read_described(given, described))
    store.write_bytes(folder / "set.json", store.read_file(given / "set.json"))


# -------------------------------------------------------------------------------------------------------- stage: scores


def _score(context: Context, bound: BoundExplainer, folder: Path, baselines: Mapping[int, Baseline]) -> result.Scored:
    """Score a stored set, read back, in units."""
    document = store.read_document(folder / "set.json")
    maps = store.read_maps(folder, document["shards"])
    items = store.read_described_table(folder, document["items"])
    expected = [item.id for item in context.task.items]
    if items["item_id"].to_pylist() != expected or len(maps) != len(expected):
        raise VxpError(f"{folder}: got {len(maps)} maps for {items['item_id'].to_pylist()[:3]} ..., expected "
                       f"{len(expected)} maps for the task's items {expected[:3]} ... in their order")
    status = items["status"].to_pylist()
    context.progress.stage(f"scoring {bound.name}", len(expected))
    done, excluded = _runnable(context, bound)
    units, tally = [], {"rows_asked": 0, "rows_run": 0, "explain_rows": 0, "seconds": 0.0}
    lost = OK not in status  # nothing to score
    for start, stop in () if lost else context.ranges():
        name = f"score/{document['set_id']}/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            unit = _score_unit(context, bound, document, done, maps[start:stop], baselines[start], start, stop)
            context.units.save(name, *unit)
        units.append(unit)
        tally = {key: tally[key] + unit[1]["tally"][key] for key in tally}
        context.progress.items(stop - start)
    scores = {b.signature: without_numbers(status) if lost else _joined(units, b.signature, status) for b in done}
    scores |= {b.signature: failed(len(expected), why, "not-run") for b, why in excluded.items()}
    ordered = {b.signature: (b, scores[b.signature]) for b in context.metrics}
    explained = {"forward_rows": sum(items["n_forwards"].to_pylist()), "backward_rows": sum(items["n_backwards"].to_pylist()),
                 "seconds": sum(items["runtime_ms"].to_pylist()) / 1000, "maps": len(expected)}
    cost = {"explain": explained, "score": tally, "peak_memory_bytes": _peak(context.settings.device),
            "device": _device_name(context.settings.device)}
    least = min([unit[1]["batch_size"] for unit in units], default=context.settings.batch_size)
    return result.Scored(bound, folder, document["set_id"], items["target"].to_pylist(), ordered, cost, least)


def _runnable(context: Context, bound: BoundExplainer) -> tuple[list[Bound], dict[Bound, str]]:
    """The metrics that this explainer is scored by, and those that it is not, with the reason (clause 6.3.1)."""
    limit = context.task.budget.get("max_passes_per_map")
    run, not_run = [], {}
    for wanted in context.metrics:
        again = wanted.metric.re_explains
        if context.task.kind.id not in wanted.metric.kinds:
            not_run[wanted] = "kind"
        elif again and bound.explainer.reference and wanted.metric.family == "robustness":
            not_run[wanted] = "reference"
        elif wanted.metric.needs_relabelled and context.engine.relabelled is None:
            not_run[wanted] = "no-relabelled-model"
        elif again and not bound.available:
            not_run[wanted] = "no-explainer"
        elif again and limit is not None and bound.passes > limit:
            not_run[wanted] = "budget"
        else:
            run.append(wanted)
    return run, not_run


def _score_unit(
    context: Context, bound: BoundExplainer, document: Mapping[str, Any], wanted: Sequence[Bound], maps: Tensor,
    baseline: Baseline, start: int, stop: int,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    batch = context.batch(start, stop, baseline.targets)
    facts = document["explainer"]
    case = Case(batch, maps.to(batch.inputs.device), facts["resample"], facts["signed"])
    engine = context.engine
    engine.tally = Tally()
    began = time.perf_counter()
    found = engine.score([Job(case, tuple(wanted), bound)], baseline.rows)[0]
    tensors, notes = {}, {}
    for signature, outcome in found.items():
        tensors[f"values/{signature}"] = outcome.values
        if outcome.curve is not None:
            tensors[f"curve/{signature}"] = outcome.curve
        if outcome.statistics is not None:
            tensors[f"statistics/{signature}"] = outcome.statistics
        notes[signature] = {"status": outcome.status, "x": outcome.x}
    tally = {"rows_asked": engine.tally.asked, "rows_run": engine.tally.run, "explain_rows": engine.tally.explained,
             "seconds": time.perf_counter() - began}
    return tensors, {"scores": notes, "tally": tally, "batch_size": engine.batch_size}


def _joined(units: Sequence[tuple[Mapping[str, Tensor], Any]], signature: str, made: Sequence[str]) -> Outcome:
    """The outcome over all units; an item whose map could not be made has that status everywhere, except where nothing was
    run."""
    values = torch.cat([tensors[f"values/{signature}"] for tensors, _ in units])
    status = [s for _, notes in units for s in notes["scores"][signature]["status"]]
    status = [score if map_ == OK or score.startswith("not-run:") else map_ for score, map_ in zip(status, made, strict=True)]
    values[torch.tensor([s != OK for s in status])] = float("nan")
    curve, statistics = ([tensors.get(f"{kind}/{signature}") for tensors, _ in units] for kind in ("curve", "statistics"))
    rows = [len(tensors[f"values/{signature}"]) for tensors, _ in units]
    return Outcome(values, tuple(status), _all_or_none(curve), tuple(units[0][1]["scores"][signature]["x"]),
                   _with_gaps(statistics, rows))


def _all_or_none(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if any(p is None for p in parts) else torch.cat([p for p in parts if p is not None])


def _with_gaps(parts: Sequence[Tensor | None], rows: Sequence[int]) -> Tensor | None:
    """Statistics of all units; zeros where a unit has none, since the metric failed there and no status is `ok`."""
    like = next((p for p in parts if p is not None), None)
    if like is None:
        return None
    return torch.cat([like.new_zeros(n, *like.shape[1:]) if p is None else p for p, n in zip(parts, rows, strict=True)])


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def _peak(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
