"""A device and a precision beside a CPU in fp32: how far scores are apart, over what the registry admits."""

from __future__ import annotations

import dataclasses

import torch

from vxp import models, tasks
from vxp.audit import tolerances
from vxp.bench.catalogue import blocks, settings
from vxp.bench.measure import Line
from vxp.core import OK, Case, Outcome
from vxp.engine import Engine, Job, Precision
from vxp.explainers import bind
from vxp.metrics import Bound, of_kind
from vxp.models import Model
from vxp.tasks import Task

GROUP = "Scores of shapes beside those of a CPU in fp32"
ITEMS = 8


def beside_cpu(device: str, precision: Precision, metrics: tuple[str, ...] = ()) -> list[Line]:
    """The largest difference of a score over its tolerance (`vxp.audit.tolerances`), how many are beyond theirs, and how many
    statuses differ: metrics, by default all that the task has truth for, at settings of few rows, of the same maps."""
    task = tasks.load("shapes").limited(ITEMS)
    model = models.load(task.model)
    kinds = of_kind(task.kinds[0].id)
    names = metrics or [name for name, m in kinds.items() if not m.truth or set(m.truth) & set(task.truth)]
    wanted = tuple(settings(Bound(kinds[name], kinds[name].parameters), 1) for name in names)
    case = _case(task, model)
    here = _scored(case, model, wanted, "cpu", "fp32")
    there = _scored(case, models.load(task.model, device=device), wanted, device, precision)
    over = {signature: apart(here[signature], there[signature]) / tolerances.of_score(signature, ("fp32", precision))
            for signature in here}
    worst = max(over, key=lambda signature: over[signature])
    beyond = [signature for signature, ratio in over.items() if ratio > 1]
    statuses = [signature for signature in here if here[signature].status != there[signature].status]
    group = f"{GROUP}, {precision}"
    return [
        Line(group, "largest difference of a score over its tolerance", over[worst], "x", "<= 1", worst),
        Line(group, "metrics beyond their tolerance", len(beyond), "", "<= 0", f"of {len(over)}" + _named(beyond)),
        Line(group, "metrics with other statuses", len(statuses), "", "<= 0", f"of {len(over)}" + _named(statuses)),
    ]


def apart(one: Outcome, other: Outcome) -> float:
    """The largest difference of a score, or of a statistic, relative above 1, over the items that are `ok` in both."""
    values, others = ((o.values[:, None] if o.statistics is None else o.statistics.flatten(1)).double() for o in (one, other))
    both = torch.tensor([s == t == OK for s, t in zip(one.status, other.status, strict=True)])
    off = ((values - others).abs() / values.abs().clamp_min(1))[both]
    return float(off.nan_to_num(0.0).max()) if off.numel() else 0.0


def _named(signatures: list[str]) -> str:
    return ": " + ", ".join(signatures) if signatures else ""


def _case(task: Task, model: Model) -> Case:
    """The first items, explained on the CPU."""
    batch = task.batch(0, ITEMS, model)
    explainer = bind("grad-cam")
    return Case(dataclasses.replace(batch, clusters=batch.clusters or batch.ids), explainer(model.module, batch),
                explainer.explainer.resample, explainer.explainer.signed)


def _scored(case: Case, model: Model, wanted: tuple[Bound, ...], device: str, precision: Precision) -> dict[str, Outcome]:
    moved = Case(case.batch.to(device), case.native.to(device), case.resample, case.signed, explained=case.explained)
    engine = Engine(model.module, 16, precision, relabelled=models.relabelled(model.id, device), segment=blocks)
    return engine.score(Job(moved, wanted, bind("grad-cam")))


__all__ = ["GROUP", "apart", "beside_cpu"]
