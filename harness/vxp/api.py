"""The notebook's calls: explain and score tensors in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vxp import explainers, metrics, models, stats
from vxp.core import OK, Batch, Case, Explainer, Normalization, Outcome, VxpError, VxpWarning
from vxp.engine import Engine, Job, with_statuses

ExplainerLike = str | Explainer | Callable[..., Tensor]
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
            note = f"  ({', '.join(others)})" if others else ""
            what = "mean" if score.of_set is None else "set "
            lines.append(f"  {signature:<{width}}  {what} {score.mean:9.4f}  ok {good}/{len(score.status)}{note}")
        return "\n".join([f"Scores of {len(lines)} metrics", *lines])


def explain(
    model: nn.Module, inputs: Tensor, explainer: ExplainerLike = "grad-cam", targets: Tensor | Sequence[int] | None = None,
    layer: str | None = None, *, parameters: Mapping[str, Any] | None = None, normalization: Any = None,
    truth: Any = None, seed: int = 0,
) -> Tensor:
    """Maps [B, h, w] float32 of one explainer on its native grid.

    model maps [B, 3, H, W] to logits [B, K]; targets default to its own predictions; layer names the CAM layer (by
    default the last spatial features). Further parameters of the explainer go into `parameters`.
    """
    given = dict(parameters or {}) | ({} if layer is None else {"layer": layer})
    bound = explainers.bind(explainer, given)
    with models.evaluating(model):
        batch, untold = _batch(model, inputs, targets, truth, normalization, seed, None)
        maps = bound(model, batch)
        maps[untold] = float("nan")
        return maps


def score(
    model: nn.Module, inputs: Tensor, attributions: Tensor, targets: Tensor | Sequence[int] | None = None,
    truth: Tensor | Mapping[str, Tensor] | None = None, metrics: Sequence[MetricLike] = ("deletion", "insertion"),
    explainer: ExplainerLike | None = None, normalization: Any = None, seed: int = 0, batch_size: int | None = None,
    *, ids: Sequence[str] | None = None, clusters: Sequence[str] | None = None, relabelled: nn.Module | None = None,
) -> Scores:
    """Scores of the maps `attributions` [B, h, w] for `inputs` [B, 3, H, W], per item and metric.

    targets default to the model's own predictions and are frozen before any perturbation. truth is a mask [B, H, W] or
    a mapping such as {"cells": ...}; `boxes` are int64 [B, N, 4] of x0, y0, x1, y1, half-open, padded with zeros.
    explainer is needed by the metrics that explain again. normalization is (mean,
    std) per channel, raw = inputs*std + mean in [0, 1]; without it mean 0 and std 1, which fixes what `black`, `mean`
    and masking in raw space are. seed and ids ("0", "1", ... by default) key every random draw. batch_size changes the
    speed only. clusters name what belongs together (photo, stamp; by default every item alone), for metrics of the set.
    relabelled is the model of the same architecture trained on permuted labels, for label-randomisation.
    """
    wanted = bind_metrics(metrics)
    again = None if explainer is None else explainers.bind(explainer)
    with models.evaluating(model):
        batch, untold = _batch(model, inputs, targets, truth, normalization, seed, ids)
        check_needs(wanted, batch.truth, again is not None, relabelled is not None)
        maps = _maps(attributions, batch)
        rule = "bilinear" if again is None else again.explainer.resample
        signed = True if again is None else again.explainer.signed
        engine = Engine(model, batch_size=batch_size or 16, relabelled=relabelled)
        case = Case(batch, maps, rule, signed)
        found = engine.score([Job(case, wanted, again)])[0]
    names = batch.ids if clusters is None else tuple(clusters)
    if len(names) != len(batch):
        raise VxpError(f"clusters: got {len(names)} names for {len(batch)} items, expected one per item")
    return Scores({b.signature: _score(b, _told(found[b.signature], untold), names, seed) for b in wanted})


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
    model: nn.Module, inputs: Tensor, targets: Any, truth: Any, normalization: Any, seed: int, ids: Sequence[str] | None,
) -> tuple[Batch, list[int]]:
    """The batch, and the items that have no target, since the model's output for them is not finite."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or not inputs.is_floating_point():
        got = f"{tuple(inputs.shape)} {inputs.dtype}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise VxpError(f"inputs: got {got}, expected a float tensor [B, 3, H, W] as the model takes it")
    if not torch.isfinite(inputs).all():
        raise VxpError("inputs: some values are NaN or infinite")
    B = len(inputs)
    norm = _normalization(normalization, inputs.shape[1])
    logits = models.predict(model, inputs)
    broken = torch.nonzero(~torch.isfinite(logits).all(1)).flatten().tolist()
    if targets is None:
        chosen = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), 0)
    else:
        chosen = torch.as_tensor(targets, device=inputs.device)
        K = logits.shape[1]
        if chosen.shape != (B,) or chosen.is_floating_point() or bool(((chosen < 0) | (chosen >= K)).any()):
            raise VxpError(f"targets: got {targets!r}, expected {B} class indices in 0..{K - 1}, one per item")
        chosen = chosen.long()
    names = tuple(str(i) for i in range(B)) if ids is None else tuple(ids)
    if len(names) != B or len(set(names)) != B:
        raise VxpError(f"ids: got {len(names)} ids, {len(set(names))} different; expected {B} different ones")
    if broken:
        what = "their scores from it are" if targets is not None else "nothing is predicted of them, and their scores are"
        warnings.warn(f"the model returned NaN or infinite logits for items {[names[i] for i in broken[:5]]}: {what} "
                      "failed:non-finite-score; check these inputs", VxpWarning, stacklevel=3)
    given = {} if truth is None else dict(truth) if isinstance(truth, Mapping) else {"mask": truth}
    for name, value in given.items():
        if name == "boxes" and isinstance(value, Tensor) and value.ndim == 3 and value.shape[::2] == (B, 4):
            continue
        if not isinstance(value, Tensor) or tuple(value.shape) != (B, *inputs.shape[2:]):
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise VxpError(f"truth {name!r}: got {found}, expected a tensor {(B, *inputs.shape[2:])}")
    batch = Batch(names, inputs, chosen, norm, seed, {k: v.to(inputs.device) for k, v in given.items()})
    return batch, broken if targets is None else []


def _normalization(given: Any, channels: int) -> Normalization:
    if given is None:
        return Normalization((0.0,) * channels, (1.0,) * channels)
    if isinstance(given, Normalization):
        return given
    try:
        mean, std = given
        norm = Normalization(tuple(float(m) for m in mean), tuple(float(s) for s in std))
    except (TypeError, ValueError):
        raise VxpError(f"normalization: got {given!r}, expected (mean, std), each with one number per channel") from None
    if len(norm.mean) != channels or len(norm.std) != channels or min(norm.std) <= 0:
        raise VxpError(f"normalization: got {given!r}, expected {channels} means and {channels} positive deviations")
    return norm


def _maps(attributions: Tensor, batch: Batch) -> Tensor:
    B = len(batch)
    if not isinstance(attributions, Tensor) or attributions.ndim != 3 or len(attributions) != B:
        got = tuple(attributions.shape) if isinstance(attributions, Tensor) else type(attributions).__name__
        raise VxpError(f"attributions: got {got}, expected [{B}, h, w]: one map per item, channels pooled")
    return attributions.detach().to(batch.inputs.device, torch.float32)
