"""What the commands run, explain and score do: find the task, the model and the explainers, then run."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from vxp_schemas import typed

from vxp import datasets, explainers, models, tasks
from vxp.catalogue import split
from vxp.core import VxpError
from vxp.documents import store
from vxp.engine import Precision, budget
from vxp.explainers import BoundExplainer
from vxp.machine import computing
from vxp.metrics import bind_all
from vxp.models import Model
from vxp.runs import cluster, fitting, importing, looking, result, run, trial
from vxp.runs.cluster import Place
from vxp.runs.cluster_worker import Told
from vxp.runs.context import Asked, Context, Progress, Quiet, Settings, choose_settings
from vxp.runs.plan import Plan, planned
from vxp.runs.sets import read_set
from vxp.runs.units import Executor, System
from vxp.stats import sequential
from vxp.tasks import Task

EVERY = "all"
"""In place of an explainer's name: every installed method that can explain the model."""
log = logging.getLogger("vxp")
PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Own:
    """What an unregistered task is made of: images, with examples of concepts beside them or not; clips; or features of
    videos."""

    images: Path | None = None
    clips: Path | None = None
    features: Path | None = None
    concepts: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.given)

    @property
    def given(self) -> list[str]:
        """The options that name it."""
        there = (("--images", self.images), ("--clips", self.clips), ("--features", self.features))
        return [option for option, place in there if place is not None]

    def task(self, model: Model) -> Task:
        """The task, for this model. VxpError for concepts of anything but images."""
        if self.images is not None:
            return tasks.opened(self.images, model, concepts=self.concepts)
        if self.concepts is not None:
            raise VxpError(f"--concepts {self.concepts}: examples of concepts go with images of your own, --images DIR")
        if self.clips is not None:
            return tasks.opened_clips(self.clips, model)
        return tasks.opened_features(Path(str(self.features)), model)


@dataclass(frozen=True)
class Order:
    """What was asked for, in the words of the command line."""

    task: str | None
    images: Path | None
    model: str | None
    data: Path | None
    explainers: tuple[str, ...]
    metrics: tuple[str, ...]
    device: str = "auto"
    precision: str = "fp32"
    limit: int | None = None
    batch_size: int | None = None
    threads: int | None = None
    memory: str | None = None
    clips: Path | None = None
    compile: bool = False
    channels_last: bool | None = None
    place: Place | None = None  # of the workers of a cluster; None for this process
    until: str | None = None
    features: Path | None = None
    concepts: Path | None = None

    @property
    def own(self) -> Own:
        """What the task is made of, where it is of one's own."""
        return Own(self.images, self.clips, self.features, self.concepts)


def named(order: Order) -> list[str]:
    """The words of a further command by which it finds the same images, data and model."""
    given = (("--images", order.images), ("--clips", order.clips), ("--features", order.features),
             ("--concepts", order.concepts), ("--model", order.model), ("--data", order.data))
    return [word for option, value in given if value is not None for word in (option, str(value))]


def to_score(order: Order, folder: Path) -> str:
    """The command that scores the set of this order."""
    return shlex.join(["vxp", "score", str(folder), *named(order), "--out", f"{folder}-scores"])


def to_import(order: Order, folder: Path) -> str:
    """The command that takes the maps of exported items back, if they lie in the folder `maps` beside them; of scores of the
    parts of videos, in scores.csv."""
    scores = (folder / "videos.json").exists()
    maps = ["--maps", str(folder / ("scores.csv" if scores else "maps"))]
    limit = [] if order.limit is None else ["--limit", str(order.limit)]
    return shlex.join(["vxp", "import", *([order.task] if order.task else []), *named(order), *limit,
                       *maps, "--name", "my-method", "--signed", *(["--explanandum", "rank-order"] if scores else []),
                       "--out", f"{folder}-set"])


def run_(order: Order, out: Path, progress: Progress) -> list[Path]:
    """Explain and score; the paths of the result documents."""
    wanted = _explainers(tuple(name for name in order.explainers if name != EVERY))
    task, model = _task(order)
    _try(order, task, model, wanted, out, progress)
    if EVERY in order.explainers:
        more = [bound for bound in _able(order, task, model) if bound.name not in {w.name for w in wanted}]
        wanted += more
        order = replace(order, explainers=(*(n for n in order.explainers if n != EVERY), *(bound.id for bound in more)))
    context = _context(order, task, model, out, progress, wanted)
    with _executor(Again(order, out.resolve(), context.settings)) as executor:
        return run.run(context, wanted, executor)


def plan(order: Order, items: int | None = None) -> Plan:
    """What the run takes, computed without a map or a score; items: of so many in place of the task's."""
    wanted = _explainers(tuple(name for name in order.explainers if name != EVERY))
    task, model = _task(order)
    wanted = run.ready(task, model, wanted)
    if EVERY in order.explainers:
        for bound in map(explainers.bind, explainers.methods()):
            with suppress(VxpError):  # it cannot explain this model
                wanted += [b for b in run.ready(task, model, [bound]) if b.name not in {w.name for w in wanted}]
    context = _draft(order, task, model, Path(), Quiet())
    if context.settings.until is not None:
        looking.asked(context.task, context.settings.until, context.metrics)  # says what no run can be stopped at
    return planned(context, run.with_references(task, wanted), items or len(context.task.items))


def explain(order: Order, out: Path, progress: Progress) -> Path:
    """Write one explanation set."""
    wanted = _explainers(order.explainers)
    task, model = _task(order)
    _try(order, task, model, wanted, out, progress)
    context = _context(order, task, model, out, progress, wanted, scored=False)
    with _executor(Again(order, out.resolve(), context.settings, scored=False)) as executor:
        return run.explain_set(context, wanted[0], executor)


def score(order: Order, set_folder: Path, out: Path, progress: Progress) -> list[Path]:
    """Score a stored set beside the references; task, model and limit are those that the set names."""
    if len(order.explainers) > 1:
        raise VxpError(f"one set has one explainer, got {', '.join(order.explainers)}")
    document = store.read_document(_set_of(set_folder) / "set.json", typed.Set)
    wanted = _explainers(order.explainers)
    name = None if order.own else f"{document['task']['id']}@{document['task']['version']}"
    if name is not None and name not in tasks.names():
        raise VxpError(f"set {set_folder} is of {name}, which is no task of the registry: of images of your own, which a set "
                       "does not carry. Name them and the model as when it was made: --images DIR --model MODEL, --clips "
                       "DIR for clips, or --features FILE")
    of_set = replace(order, task=name, limit=order.limit or document["n_items"]["expected"])
    task, model = _task(of_set)
    _try(of_set, task, model, wanted, out, progress)
    context = _context(of_set, task, model, out, progress, wanted)
    with _executor(Again(of_set, out.resolve(), context.settings, given=set_folder.resolve())) as executor:
        return run.score_set(context, set_folder, wanted[0] if wanted else None, executor)


@dataclass(frozen=True)
class Again:
    """A run once more in another process, of the words of its command and the settings that were chosen: by this a worker of a
    cluster begins. given: the set that is scored, where it was made before."""

    order: Order
    out: Path
    settings: Settings
    scored: bool = True
    given: Path | None = None

    def context(self, progress: Progress) -> Context:
        task, model = _task(replace(self.order, device=self.settings.device))
        return Context.of(task, model, self.out, self.settings, self.order.metrics if self.scored else None, progress)

    def systems(self, context: Context, told: Sequence[Told]) -> list[System]:
        """The explainers that the driver names; VxpError for one that is a Python object and has no name here."""
        wanted = _explainers(self.order.explainers)
        known = {} if self.given else {bound.name: bound for bound in run.ready(context.task, context.model, wanted)}
        if self.scored:
            known = {bound.name: bound for bound in run.with_references(context.task, list(known.values()))}
        found = []
        for one in told:
            if one.carried and self.given is not None:
                again = wanted[0] if wanted else None
                bound = read_set(self.given, context.task, context.model, again).bound
            elif one.name in known:
                bound = known[one.name]
            else:
                raise VxpError(f"explainer {one.name!r} is none of {', '.join(known)}, which workers find by their names: a "
                               "Python object cannot go to another process. Put it into a file that all nodes see, and name it "
                               "as file.py:name")
            found.append(System(bound, one.set_id, one.carried))
        return found


def _executor(again: Again) -> AbstractContextManager[Executor]:
    """What does the units of a command, while it lasts."""
    return nullcontext(run.LOCAL) if again.order.place is None else cluster.opened(again.order.place, again)


def _set_of(folder: Path) -> Path:
    """The folder of a set; VxpError for another one, with the sets of a run."""
    if not (folder / "set.json").is_file():
        sets = [str(path.parent) for path in sorted(folder.glob("explanations/*/set.json"))]
        raise VxpError(f"{folder} is no explanation set, expected a folder that vxp explain or vxp import wrote"
                       + (f"; the sets of this run are {', '.join(sets)}" if sets else ""))
    return folder


def export(order: Order, out: Path, progress: Progress) -> Path:
    """Write a task's images and the classes to explain."""
    task, model = _task(order)
    return importing.export(_context(order, task, model, out, progress, scored=False))


def import_(order: Order, maps: Path, method: importing.Method, out: Path, progress: Progress) -> Path:
    """Write the explanation set of maps that were made elsewhere."""
    task, model = _task(order)
    return importing.import_(_context(order, task, model, out, progress, scored=False), maps, method)


def device(asked: str) -> str:
    """The device to run on; VxpError where a GPU was asked for and there is none."""
    if asked not in ("auto", "cpu", "cuda"):
        raise VxpError(f"--device {asked!r} is unknown; expected auto, cpu or cuda")
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise VxpError("--device cuda: PyTorch finds no GPU on this machine; use --device cpu, or install a PyTorch build "
                       "and driver that match the card")
    return "cuda" if there and asked != "cpu" else "cpu"


def precision(asked: str) -> Precision:
    """The arithmetic to run in; VxpError for another word."""
    if asked not in PRECISIONS:
        raise VxpError(f"--precision {asked!r} is unknown; expected one of {', '.join(PRECISIONS)}")
    return asked  # type: ignore[return-value]


@dataclass(frozen=True)
class Lesson:
    """What is to be trained, in the words of the command line."""

    explainer: str
    model: str
    data: str | None
    images: Path | None
    count: int
    recipe: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None


def fit(lesson: Lesson, out: Path, progress: Progress) -> Mapping[str, Any]:
    """Train an explainer for a model; the card of its weights."""
    head, given = split(lesson.explainer, "explainer")
    bound = explainers.bind(head)
    if (lesson.data is None) == (lesson.images is None):
        raise VxpError("name a data set with --data (see vxp list datasets), or your own images with --images DIR: one of the "
                       "two")
    threads = lesson.threads or os.cpu_count() or 1
    terms = fitting.Terms(lesson.seed, device(lesson.device), precision(lesson.precision), threads, progress)
    model = models.load(lesson.model, device=terms.device)
    training = fitting.training_of(bound.explainer)
    recipe = fitting.recipe_of(training, model.module, lesson.recipe, given, f"explainer {bound.id!r}")
    if lesson.images is not None:
        items, source = datasets.opened(lesson.images, model.image_size, model.class_names)
        candidates = iter(items)
    else:
        source, candidates = datasets.source(str(lesson.data)), None
    chosen = fitting.images(source, model, lesson.count, terms, candidates)
    return fitting.fit(bound.explainer, recipe, model, chosen, terms, out)


def _explainers(asked: tuple[str, ...]) -> list[BoundExplainer]:
    return [explainers.bind(name) for name in asked]


def _try(
    order: Order, task: Task, model: Model, wanted: Sequence[BoundExplainer], out: Path, progress: Progress
) -> None:
    """Try the explainers that the run in `out` does not have yet; VxpError where one cannot explain, or a metric is unknown."""
    bind_all(list(order.metrics))
    stored = out / "run.json"
    there = store.read_document(stored, typed.Run)["explainers"] if stored.exists() else []
    task = task.limited(order.limit)
    for bound in run.ready(task, model, wanted):
        if result.method(bound) not in there:
            progress.stage(f"trying {bound.name}", 1)
            _tried(order, bound, task, model)
            progress.items(1)


def _tried(order: Order, bound: BoundExplainer, task: Task, model: Model) -> None:
    with computing(order.threads or os.cpu_count() or 1):
        trial.tried(bound, task, model, device=device(order.device), precision=precision(order.precision))


def _able(order: Order, task: Task, model: Model) -> list[BoundExplainer]:
    """Every installed method that can explain this model; of the others it is said why not."""
    able = []
    for id in explainers.methods():
        bound = explainers.bind(id)
        try:
            for resolved in run.ready(task, model, [bound]):
                _tried(order, resolved, task, model)
        except VxpError as error:
            log.warning("%s is left out: %s", id, error)
            continue
        able.append(bound)
    return able


def _task(order: Order) -> tuple[Task, Model]:
    if len(order.own.given) + (order.task is not None) != 1:
        raise VxpError("name a registered TASK, your own images with --images DIR, your own clips with --clips DIR, or "
                       "features of your own videos with --features FILE: one of the four")
    where = device(order.device)
    if order.task is not None and order.concepts is not None:
        raise VxpError(f"--concepts {order.concepts}: task {order.task} has its own items; name your own images with "
                       "--images DIR")
    if order.task is not None:
        task = tasks.load(order.task, model=order.model, data=order.data)
        return task, models.load(task.model, device=where, channels_last=order.channels_last)
    return own_task(order.own, order.model, where, order.channels_last)


def formed(model: str | None, frames: int | None, layout: str | None, fusion: str | None) -> str | None:
    """The model's name with the options that say how it takes clips (`vxp.models.named`)."""
    if model is None and (frames or layout or fusion):
        raise VxpError("--frames, --layout and --fusion say how a model takes clips: name the model with --model")
    return None if model is None else models.named(model, frames=frames, layout=layout, fusion=fusion)


def own_task(
    own: Own, name: str | None, device: str, channels_last: bool | None = None
) -> tuple[Task, Model]:
    """The task of one's own images, clips or features, and the model."""
    if name is None:
        raise VxpError(f"{own.given[0]} needs --model: a name (vxp list models) or file.py:factory")
    model = models.load(name, device=device, clips=own.clips is not None, channels_last=channels_last)
    return own.task(model), model


def _draft(order: Order, task: Task, model: Model, out: Path, progress: Progress, scored: bool = True) -> Context:
    """The context of a command before it is settled how it computes: enough to plan it."""
    until = None if order.until is None else _question(order, task)
    settings = Settings(device(order.device), limit=order.limit, until=until)
    return Context.of(task, model, out, settings, order.metrics if scored else None, progress)


def _context(
    order: Order, task: Task, model: Model, out: Path, progress: Progress, explained: Sequence[BoundExplainer] = (),
    scored: bool = True,
) -> Context:
    """The context of a command that explains with these explainers; scored: and scores them, the references included."""
    draft = _draft(order, task, model, out, progress, scored)

    def rows() -> int:
        systems = run.ready(task, model, explained)
        systems = run.with_references(task, systems) if scored else systems
        return planned(draft, systems, len(draft.task.items)).passes

    own = draft.settings
    # items in drawn order are as many as it takes, which nobody has set
    limit = None if own.until is not None else draft.task.limit
    asked = Asked(own.device, precision(order.precision), order.batch_size, order.threads, limit, budget(order.memory),
                  order.compile, own.until)
    return draft.under(choose_settings(draft.task, model, out, asked, rows))


def _question(order: Order, task: Task) -> sequential.Until:
    """What the run stops at; VxpError where the task has too few clusters to decide anything."""
    if order.limit is not None:
        raise VxpError("--until takes clusters in drawn order until its question is decided, and --limit others: give one "
                       "of the two")
    sequential.looks(len({item.cluster for item in task.items}), task.inference.min_clusters)
    return sequential.until(str(order.until))
