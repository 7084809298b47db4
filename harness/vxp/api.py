"""The notebook's calls: explain and score tensors in memory."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vxp import datasets, explainers, kinds, metrics, models, outputs, stats, tasks
from vxp.catalogue import nearest
from vxp.core import OK, Bank, Batch, Case, Explainer, Outcome, Resample, VxpError, VxpWarning, doors, doubts
from vxp.engine import Engine, Job, budget, with_statuses
from vxp.explainers import foreign
from vxp.kinds import Kind

Given = doors.Given
TargetsLike = Given | Sequence[int]
ExplainerLike = str | Explainer | Callable[..., Any] | Any
"""A name, a declared explainer, a function, or an object of captum or pytorch-grad-cam."""
MetricLike = str | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Score:
    """One metric's scores: values float64 [B], NaN where the status is not `ok`, and the signature that names them.

    A metric of the set keeps `statistics` [B, D] of every item, and `of_set` is its one number.
    """

    signature: str
    values: Tensor
    status: tuple[str, ...]
    curve: Tensor | None = None
    x: tuple[float, ...] = ()
    statistics: Tensor | None = None
    of_set: float | None = None

    @property
    def mean(self) -> float:
        """Mean over the items whose status is `ok`, or the number of the set; NaN if there is none."""
        if self.of_set is not None:
            return self.of_set
        numbers = self.values[~self.values.isnan()]
        return float(numbers.mean()) if len(numbers) else float("nan")

    @property
    def tied(self) -> bool:
        """Whether all items, two or more, have one number: a score that tells nothing apart, by a saturated output or a map
        that every item shares."""
        numbers = self.values[~self.values.isnan()]
        return len(numbers) > 1 and bool((numbers == numbers[0]).all())

    def __repr__(self) -> str:
        good = sum(s == "ok" for s in self.status)
        what = "mean" if self.of_set is None else "set"
        return f"Score({self.signature!r}, {what}={self.mean:.4f}, ok={good}/{len(self.status)})"


@dataclass(frozen=True, eq=False)
class Scores(Mapping[str, Score]):
    """Scores by signature; the id alone will do where it is unambiguous."""

    by_signature: Mapping[str, Score]

    def __getitem__(self, name: str) -> Score:
        if name in self.by_signature:
            return self.by_signature[name]
        try:
            wanted = metrics.bind(name)
        except VxpError as error:
            raise KeyError(f"{error}; scored here: {', '.join(self.by_signature)}") from None
        if wanted.signature in self.by_signature and "|" in name:
            return self.by_signature[wanted.signature]
        same = [s for s in self.by_signature if s.startswith(f"{wanted.metric.name}|") or s == wanted.metric.name]
        if len(same) == 1 and "|" not in name:
            return self.by_signature[same[0]]
        raise KeyError(f"{name!r} is {'ambiguous' if same else 'not'} among the scores: use one of "
                       f"{', '.join(same or self.by_signature)}")

    def __iter__(self) -> Any:
        return iter(self.by_signature)

    def __len__(self) -> int:
        return len(self.by_signature)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """JSON-ready: per signature the values (None where there is no number), statuses and mean."""
        return {
            signature: {
                "values": [None if v != v else v for v in score.values.tolist()],
                "status": list(score.status),
                "mean": None if score.mean != score.mean else score.mean,
            }
            for signature, score in self.by_signature.items()
        }

    def __repr__(self) -> str:
        width = max((len(s) for s in self.by_signature), default=0)
        lines = []
        for signature, score in self.by_signature.items():
            good = sum(s == "ok" for s in score.status)
            others = sorted({s for s in score.status if s != "ok"})
            others += ["one number for all items"] if score.tied else []
            note = f"  ({', '.join(others)})" if others else ""
            what = "mean" if score.of_set is None else "set "
            lines.append(f"  {signature:<{width}}  {what} {score.mean:9.4f}  ok {good}/{len(score.status)}{note}")
        return "\n".join([f"Scores of {len(lines)} metrics", *lines])


def explain(
    model: nn.Module, inputs: Given, explainer: ExplainerLike = "grad-cam", targets: TargetsLike | None = None,
    layer: str | nn.Module | None = None, *, parameters: Mapping[str, Any] | None = None, normalization: Any = None,
    truth: Any = None, seed: int = 0, pool: str | None = None, fragments: Any = None, objects: Any = None,
    foils: TargetsLike | None = None, bank: Any = None,
) -> Tensor:
    """Maps [B, h, w] float32 of one explainer on its native grid, [B, t, h, w] of clips, scores [B, K] of the fragments of
    videos, or what another kind of explanation is (see `vxp list explainers`).

    model maps images [B, 3, H, W], or clips [B, 3, T, H, W], to logits [B, K]; inputs, targets, normalization, truth,
    fragments, objects, foils and bank are as in `score`. explainer is a name, a function (model, batch) -> maps, a function
    (model, inputs, targets) of arrays, or an object of captum or pytorch-grad-cam that was made for the model; pool says how
    channels of its maps become one. layer names the CAM layer or is that layer (by default the last spatial features). Further
    parameters of the explainer go into `parameters`. An item of which the model's output is not finite, and that has no
    target, has a map of NaN.
    """
    given = dict(parameters or {}) | ({} if layer is None else {"layer": layer})
    given = {name: doors.layer(model, value) for name, value in given.items()}
    bound = explainers.bind(foreign.adapted(explainer, model, pool), given)
    with _ready(model, explainer):
        batch, untold = _batch(model, inputs, targets, truth, normalization, seed, None, None, fragments)
        maps = bound(model, replace(_with(batch, model, objects, foils), bank=_bank(bank, batch)))
        if maps.is_floating_point():
            maps[untold] = float("nan")
        return maps


def score(
    model: nn.Module, inputs: Given, attributions: Given, targets: TargetsLike | None = None,
    truth: Given | Mapping[str, Given] | None = None, metrics: Sequence[MetricLike] = ("deletion", "insertion"),
    explainer: ExplainerLike | None = None, normalization: Any = None, seed: int = 0, batch_size: int | None = None,
    *, ids: Sequence[str] | None = None, clusters: Sequence[str] | None = None, relabelled: nn.Module | None = None,
    pool: str | None = None, memory: str | int | None = None, fragments: Any = None,
    labels: Sequence[int | Sequence[int]] | None = None, kind: str | None = None, objects: Any = None,
    foils: TargetsLike | None = None, bank: Any = None,
) -> Scores:
    """Scores of the maps `attributions` [B, h, w] for images `inputs` [B, 3, H, W], or [B, t, h, w] for clips [B, 3, T, H, W],
    per item and metric. A metric that is not defined for such maps is `not-run:kind`.

    All of them may be arrays of NumPy, maps and masks may have one channel, [B, 1, h, w]; maps with more need `pool`: `sum`
    (keeps the sign), `abs-sum` or `max-abs` of the channels. inputs of another precision are converted to float32, as the
    standard has images, and a model whose weights have another type gets them in that type.

    targets are class indices or one-hot rows; they default to the model's own predictions and are frozen before any
    perturbation. truth is a mask [B, H, W] or a mapping such as {"cells": ...}; `boxes` are [B, N, 4] (or one per item,
    [B, 4]) of x0, y0, x1, y1, half-open, padded with zeros. explainer, as in `explain`, is needed by the metrics that explain
    again. normalization is (mean, std) per channel, raw = inputs*std + mean in [0, 1]; without it mean 0 and std 1, which
    fixes what `black`, `mean` and masking in raw space are. seed and ids ("0", "1", ... by default) key every random draw.
    batch_size, and memory, the bytes that the rows of a model batch take at most (`500MB`, a number; by default 2 GB), change
    the speed only. clusters name what belongs together (photo, stamp; by default every item alone), for
    metrics of the set. relabelled is the model of the same architecture trained on permuted labels, for label-randomisation.

    A model that gives a score to every frame of a video is `vxp.frame_scores(model)`; inputs are then features [B, D, n] of n
    frames, or clips, there are no targets, and `attributions` [B, K] are scores of fragments, in the order of time. fragments
    says what these are: the fragment of every frame, [B, n] or [n], or half-open ranges of frames that follow on each other.

    labels are the correct classes of every item, one or several, which the fidelities of top frames read.

    kind says what `attributions` are where they are no maps: `regions` of images and `regions3d` of clips, two planes [B, 2,
    *space] (`vxp.painted` makes them of label maps and scores); `counterfactual`, images uint8 [B, 3, H, W]; `concepts`,
    scores [B, K]; `text`, bytes (`vxp.encoded`). objects are label maps [B, *space] of the objects in clips, or the parts
    of images, -1 for nothing, which metrics of these remove; foils are the classes that counterfactuals are to reach.

    A metric that is asked for without the truth, explainer or relabelled model that it needs is an error of the input
    (`VxpError`), and no status: `not-run:no-truth` and the like are for the list of a task. Outputs that are probabilities,
    and inputs whose raw values leave [0, 1], give a `VxpWarning`.
    """
    wanted = bind_metrics(metrics)
    again = None if explainer is None else explainers.bind(foreign.adapted(explainer, model, pool))
    with _ready(model, explainer):
        engine = Engine(model, batch_size=batch_size or 16, relabelled=relabelled, memory=budget(memory))
        batch, untold = _batch(model, inputs, targets, truth, normalization, seed, ids, engine, fragments)
        batch = replace(_with(batch, model, objects, foils), labels=doors.labels(labels, len(batch), batch.inputs.device),
                        bank=_bank(bank, batch))
        check_needs(wanted, batch.truth, again is not None, relabelled is not None)
        explained = _kind(kind, batch, attributions)
        maps = (doors.maps(attributions, len(batch), pool, kind=explained).to(batch.inputs.device) if kind is None
                else explained.checked(doors.tensor(attributions, "attributions", explained.expected).to(batch.inputs.device),
                                       batch, "attributions"))
        rule = explained.rule(_rule(batch, maps, explained) if again is None else again.explainer.resample)
        signed = True if again is None else again.explainer.signed
        case = Case(batch, maps, rule, signed, explained=explained)
        found = engine.score(Job(case, wanted, again))
    names = batch.ids if clusters is None else tuple(clusters)
    if len(names) != len(batch):
        raise VxpError(f"clusters: got {len(names)} names for {len(batch)} items, expected one per item")
    return Scores({b.signature: _score(b, _told(found[b.signature], untold), names, seed) for b in wanted})


def _with(batch: Batch, model: nn.Module, objects: object, foils: object) -> Batch:
    """The items with the objects in them, and with the classes that counterfactuals are to reach."""
    n, device = len(batch), batch.inputs.device
    parts = {**batch.parts, **doors.objects(objects, n, batch.space, device)}
    if foils is None:
        return replace(batch, parts=parts)
    with torch.no_grad():
        classes = outputs.of(model).checked(model(batch.inputs[:1]), batch.inputs[:1]).shape[1]
    return replace(batch, parts=parts, foils=doors.foils(foils, n, classes, device))


def _bank(given: Any, batch: Batch) -> Bank | None:
    """The examples of concepts, on the device of the items. VxpError for anything but those that `score` names, and for
    examples of another size than the items."""
    if given is None:
        return None
    pair = f"inputs with it and without it, two tensors [n, {', '.join(map(str, batch.inputs.shape[1:]))}]"
    if isinstance(given, str | Path):
        given = tasks.as_inputs(datasets.examples(Path(given), (batch.space[-2], batch.space[-1])), batch.normalization)
    elif isinstance(given, Mapping):
        given = _pairs(given, pair)
    if not isinstance(given, Bank):
        raise VxpError(f"bank: got a {type(given).__name__}, expected a folder, a vxp.Bank, or a mapping of concepts to {pair}")
    size, n = batch.inputs.shape[1:], given.on.shape[1]
    if given.on.shape != given.off.shape or given.on.shape[2:] != size or len(given.on) != len(given.names) or n < 2:
        raise VxpError(f"bank: got {doors.described(given.on)} and {doors.described(given.off)}, expected of each of "
                       f"{len(given.names)} concepts as many of both kinds, two at least, as large as the items: {pair}")
    return replace(given, on=given.on.to(batch.inputs.device), off=given.off.to(batch.inputs.device))


def _pairs(given: Mapping[str, Any], pair: str) -> Bank:
    """A mapping of concepts to two tensors; of every kind as many as of the one that has fewest."""
    for name, both in given.items():
        if not isinstance(both, tuple | list) or len(both) != 2:
            raise VxpError(f"bank: got {doors.described(both)} of the concept {name!r}, expected {pair}")
    sides = [[doors.tensor(both[side], f"bank {name!r}", pair).float() for name, both in given.items()] for side in (0, 1)]
    sizes = {tuple(images.shape[1:]) for side in sides for images in side}
    if len(sizes) != 1:
        raise VxpError(f"bank: got concepts of the sizes {sorted(sizes)}, expected one, and of every concept {pair}")
    n = min(len(images) for side in sides for images in side)
    on, off = (torch.stack([images[:n] for images in side]) for side in sides)
    return Bank(tuple(given), on, off)


def _kind(name: str | None, batch: Batch, attributions: object) -> Kind:
    """What is scored: the kind of this name, or maps with as many axes as there are. VxpError for a name that is none, and for
    a kind of other items."""
    if name is None:
        return kinds.of_map(batch.medium, getattr(attributions, "ndim", 0) - 1)
    if name not in kinds.KINDS:
        raise VxpError(f"no kind of explanation is called {name!r}{nearest(name, kinds.EVERY)}; expected one of "
                       f"{', '.join(kinds.EVERY)}")
    found = kinds.KINDS[name]
    if batch.medium not in found.media:
        raise VxpError(f"kind: {name} explains {' and '.join(medium.id for medium in found.media)}s, and the inputs are "
                       f"{batch.medium.id}s")
    return found


def _rule(batch: Batch, maps: Tensor, kind: Kind) -> Resample:
    """How maps or scores of parts that are given go to the input grid: scores of frames are as many as there are frames."""
    if not kind.ragged or ("fragment" in batch.parts and maps.shape[1] == batch.count_of("fragment")):
        return "bilinear"
    return "frame"


@contextlib.contextmanager
def _ready(model: nn.Module, explainer: object) -> Iterator[None]:
    """The model in eval mode, taking float32 images, and nothing of the explainer's watching it; all as before afterwards."""
    with models.evaluating(model), doors.in_its_own_type(model), foreign.at_rest(explainer):
        yield


def _told(found: Outcome, untold: Sequence[int]) -> Outcome:
    """`failed:non-finite-score` for the items that have no target, where nothing else is said of them."""
    return with_statuses(found, {i: "failed:non-finite-score" for i in untold if found.status[i] == OK})


def _score(bound: metrics.Bound, found: Outcome, clusters: Sequence[str], seed: int) -> Score:
    of_set = None
    if bound.metric.reduce is not None and found.statistics is not None:
        summary = stats.set_summary(bound.metric.reduce, found.statistics, found.status, clusters, range=bound.metric.range,
                                    interval=False)
        of_set = summary.get("mean", float("nan"))
    return Score(bound.signature, found.values, found.status, found.curve, found.x, found.statistics, of_set)


def bind_metrics(requests: Sequence[MetricLike]) -> tuple[metrics.Bound, ...]:
    if isinstance(requests, str):
        requests = (requests,)
    return metrics.bind_all(requests)


def check_needs(
    wanted: Sequence[metrics.Bound], truth: Mapping[str, Any], explains: bool, relabelled: bool = True
) -> None:
    """VxpError where a metric needs a truth or an explainer that is not there; all faults at once."""
    faults = []
    for bound in wanted:
        keys = bound.metric.truth
        if keys and not any(key in truth for key in keys):
            faults.append(f"metric {bound.metric.id!r} needs the truth {' or '.join(keys)}, and there is "
                          f"{', '.join(truth) or 'none'}: give it, or leave the metric out")
        if bound.metric.re_explains and not explains:
            faults.append(f"metric {bound.metric.id!r} explains again: pass explainer= (a name or a callable "
                          "(model, batch) -> maps), or leave the metric out")
        if bound.metric.needs_relabelled and not relabelled:
            faults.append(f"metric {bound.metric.id!r} compares with a model trained on permuted labels: pass relabelled= "
                          "(a module of the same architecture), or leave the metric out")
    if faults:
        raise VxpError("; ".join(faults))


def _batch(
    model: nn.Module, inputs: object, targets: object, truth: object, normalization: Any, seed: int,
    ids: Sequence[str] | None, engine: Engine | None, fragments: object,
) -> tuple[Batch, list[int]]:
    """The batch, and the items that have no target, since the model's output for them is not finite. Warns, once per call, of
    what is probably not meant; engine: that by which maps of it are to be scored, where they are."""
    output = outputs.of(model)
    images = doors.inputs(inputs, model, sequences=not output.targets)
    norm = doors.normalization(normalization, images.shape[1])
    names = doors.names(ids, len(images))
    logits = models.predict(model, images) if engine is None else engine.predict_all(images)
    models.check_some_finite(logits)
    said = output.doubts(logits, "the model")
    finite = torch.isfinite(logits).all(1)
    if targets is not None and not output.targets:
        raise VxpError(f"targets: got {doors.described(targets)}, expected none: the model scores frames and has no classes")
    if targets is None:
        chosen = output.predicted(logits)
    else:
        chosen = doors.targets(targets, len(images), logits.shape[1], images.device)
    batch = Batch(names, images, chosen, norm, seed, doors.truth(truth, len(images), images.shape[2:], images.device),
                  parts=doors.parts(fragments, len(images), images.shape[2], images.device))
    broken = torch.nonzero(~finite).flatten().tolist()
    if images.ndim > 3 and (engine is not None or normalization is not None):  # most explainers look at no raw pixels
        said += doubts.of_inputs(batch, normalization is not None)
    if broken:
        what = "their scores from it are" if targets is not None else "nothing is predicted of them, and their scores are"
        said.append(f"the model returned NaN or infinite logits for items {[names[i] for i in broken[:5]]}: {what} "
                    "failed:non-finite-score; check these inputs")
    for words in said:
        warnings.warn(words, VxpWarning, stacklevel=3)
    return batch, broken if targets is None else []
